"""From the value of `--corpus` to a corpus: files and folders, a dataset of the hub, or a name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.corpus.files import Files
from bench.corpus.sources import Corpus
from bench.errors import BenchError, unknown_name

HUB_PREFIX = "hf:"


def open_corpus(
    spec: Sequence[str],
    known: Mapping[str, type[Corpus]],
    text_column: str = "text",
    size: str = "tiny",
    num_words: int = 1_000_000,
    documents: str = "auto",
) -> Corpus:
    """The corpus that `--corpus` names.

    Args:
        spec: Files and folders, or one `hf:NAME[:CONFIG][@REVISION]`, or one name of `known`.
        known: Registered corpora by name.
        text_column: Name of the column with the text, in formats that have columns.
        size: Size of the encoder that is trained on it (see `Corpus.for_size`).
        num_words: Length of a corpus that can have any length (generated, hub).
        documents: What is one document of a text file (see `bench.corpus.documents`).

    Raises:
        BenchError: No such file or name, or a file that is not text.
    """
    if not spec:
        raise BenchError("--corpus is empty; give files, a folder, hf:NAME or a name (bench list)")
    first = spec[0]
    is_files = os.path.lexists(first) and first.replace("-", "_") not in known
    if documents != "auto" and not is_files:
        raise BenchError(f"--documents {documents} is for text files, and {first} is none")
    if len(spec) == 1 and first.startswith(HUB_PREFIX):
        from bench.corpus.hub import Hub  # its network modules cost 16 ms of start-up

        return Hub(first.removeprefix(HUB_PREFIX), text_column, num_words)
    if len(spec) == 1 and first.replace("-", "_") in known:
        return known[first.replace("-", "_")].for_size(size, num_words)
    for name in spec:
        if not os.path.lexists(name):
            raise _no_such_corpus(name, known, is_alone=len(spec) == 1)
    return Files([Path(name) for name in spec], text_column, documents)


def _no_such_corpus(name: str, known: Mapping[str, type[Corpus]], is_alone: bool) -> BenchError:
    """The error for a missing file or for an unregistered name, whichever the user meant."""
    looks_like_path = os.sep in name or name.startswith((".", "~")) or bool(Path(name).suffix)
    if name.startswith(HUB_PREFIX) or (name in known and not is_alone):
        return BenchError(
            f"--corpus {name} must stand alone; it cannot be mixed with other sources"
        )
    if looks_like_path or not is_alone:
        return BenchError(
            f"no file or folder {name!r} (--corpus, --forget; relative to {Path.cwd()})"
        )
    return unknown_name("corpus or file", name, known, "bench list corpora")
