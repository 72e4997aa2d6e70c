"""Where text comes from: a contract for corpora, and the door through which a name becomes one.

A corpus can be read any number of times and gives the same documents each time; its fingerprint
is of content, never of paths or dates, so an edited file is another corpus and a moved one is not.
"""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench.errors import BenchError, unknown_name

HUB_PREFIX = "hf:"
DOCUMENT_CHARACTERS = 100_000
"""Longer documents are cut into several: memory stays bounded, and a held-out part is possible."""


class Corpus(ABC):
    """Documents of text, streamed."""

    name: ClassVar[str]
    summary: ClassVar[str]

    vocab_size: ClassVar[int | None] = None
    """Entries of the tokenizer trained on it, if it prefers a number to the size's."""

    @classmethod
    def sized(cls, size: str, num_words: int) -> Corpus:
        """The corpus for an encoder of a size; one without an end of its own has so many words."""
        return cls()

    @functools.cached_property
    def skipped(self) -> dict[str, int]:
        """What the last reading left out or mended, by kind: `{"blank": 3, "NUL": 1}`."""
        return {}

    @abstractmethod
    def fingerprint(self) -> str:
        """A sha256 (hex) of everything that decides the documents and their order."""

    @abstractmethod
    def documents(self) -> Iterator[str]:
        """The documents from the beginning, one in memory at a time.

        Raises:
            BenchError: The text cannot be read; says which file and why.
        """

    @property
    def display_name(self) -> str:
        """What to call this very corpus in a table: its name, or its files."""
        return self.name

    def count(self, kind: str, amount: int = 1) -> None:
        """Note something left out or mended."""
        if amount:
            self.skipped[kind] = self.skipped.get(kind, 0) + amount


def cut_document(text: str) -> Iterator[str]:
    """A document as pieces of at most `DOCUMENT_CHARACTERS`, cut at white space where there is any.

    Blank pieces are left out.
    """
    start = 0
    while len(text) - start > DOCUMENT_CHARACTERS:
        end = start + cut_place(text[start : start + DOCUMENT_CHARACTERS])
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].strip():
        yield piece


def cut_place(window: str) -> int:
    """Where to cut, given as much of a text as may stay together: before its last word."""
    words = window.rsplit(None, 1)
    return window.rindex(words[1]) if len(words) == 2 else len(window)


def open_corpus(
    spec: Sequence[str],
    known: Mapping[str, type[Corpus]],
    text_column: str = "text",
    size: str = "tiny",
    num_words: int = 1_000_000,
) -> Corpus:
    """The corpus that `--corpus` names.

    Args:
        spec: Files and folders, or one `hf:NAME[:CONFIG][@REVISION]`, or one name of `known`.
        known: Registered corpora by name.
        text_column: The column that holds the text, in files that have columns.
        size: Of the encoder that is to read it (see `Corpus.sized`).
        num_words: How much to take of a corpus without an end of its own (generated, hub).

    Raises:
        BenchError: No such file or name, or a file that is not text.
    """
    if not spec:
        raise BenchError("--corpus is empty; give files, a folder, hf:NAME or a name (bench list)")
    first = spec[0]
    if len(spec) == 1 and first.startswith(HUB_PREFIX):
        from bench.corpus.hub import Hub

        return Hub(first.removeprefix(HUB_PREFIX), text_column, num_words)
    if len(spec) == 1 and first.replace("-", "_") in known:
        return known[first.replace("-", "_")].sized(size, num_words)
    from bench.corpus.files import Files

    for name in spec:
        if not os.path.lexists(name):
            raise _no_such_corpus(name, known, alone=len(spec) == 1)
    return Files([Path(name) for name in spec], text_column)


def _no_such_corpus(name: str, known: Mapping[str, type[Corpus]], alone: bool) -> BenchError:
    """A file that is not there, or a name nobody registered: say which of the two was meant."""
    looks_like_path = os.sep in name or name.startswith((".", "~")) or bool(Path(name).suffix)
    if name.startswith(HUB_PREFIX) or (name in known and not alone):
        return BenchError(f"--corpus {name} stands alone; it cannot be mixed with other sources")
    if looks_like_path or not alone:
        return BenchError(f"no file or folder {name!r} (--corpus; seen from {Path.cwd()})")
    return unknown_name("corpus or file", name, known, "bench list corpora")
