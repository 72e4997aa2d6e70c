"""The work of one process on a part of a corpus: hash a file, scan or encode documents."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.corpus.partition import Sample, pieces_of, scan, text_hash
from bench.corpus.parts.cutting import Part
from bench.corpus.raw_files import open_regular, read_errors
from bench.corpus.sources import Corpus
from bench.corpus.store import StoreWriter
from bench.corpus.tokenizer import TextTokenizer
from bench.corpus.words.models import word_model
from bench.storage import MANIFEST, write_manifest

STORES = ("train", "heldout")
_PIECE_BYTES = 1 << 20


def do_job(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in its folder and return the result."""
    if job["kind"] == "hash":
        return _hash_file(Path(job["path"]), job["spans"])
    corpus = Part(**job["part"]).corpus()
    if job["kind"] == "scan":
        return _scan(folder, corpus, job["highest"]) | {"digests": corpus.digests}
    tokenizer = TextTokenizer.from_file(Path(job["tokenizer"]))
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(open_writer(folder, name, tokenizer)) for name in STORES]
        encode(pieces_of(corpus), corpus, tokenizer, job["words"], job["threshold"], writers)
        for writer in writers:
            writer.close()
    documents = sum(writer.num_documents for writer in writers)
    facts = {"digests": corpus.digests, "skipped": corpus.skipped, "documents": documents}
    write_manifest(folder, [f"{name}/{MANIFEST}" for name in STORES], key=job["key"], **facts)
    return facts


def open_writer(folder: Path, name: str, tokenizer: TextTokenizer) -> StoreWriter:
    """A writer of a store in a new folder."""
    (folder / name).mkdir()
    return StoreWriter(folder / name, tokenizer.vocabulary)


def encode(
    pieces: Iterable[str],
    corpus: Corpus,
    tokenizer: TextTokenizer,
    words: str,
    threshold: int,
    writers: list[StoreWriter],
) -> None:
    """Write documents to the stores of training and of held-out text.

    Args:
        pieces: The documents.
        corpus: Counts the characters that the tokenizer drops.
        tokenizer: Encodes them.
        words: The word model.
        threshold: The hash below which a document is held out.
        writers: Of both stores.
    """
    model = word_model(words)
    for text, encoded in tokenizer.stream(pieces):
        corpus.count_skipped("characters that the tokenizer drops", encoded.dropped)
        marked = dataclasses.replace(encoded, word_start=model.mark(text, encoded))
        writers[text_hash(text) < threshold].add(text, marked)


def read_scan(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of a scan."""
    with np.load(folder / "scan.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def sample_entries(arrays: dict[str, np.ndarray], first: int) -> Iterable[tuple[int, int, str]]:
    """The entries of the sample of a part (see `Sample`).

    Args:
        arrays: From `read_scan`.
        first: Number of the first document of the part.
    """
    ends = arrays["sample_sizes"].cumsum()
    payload = arrays["sample_text"].tobytes()
    for own_hash, number, low, high in zip(
        arrays["sample_hashes"].tolist(),
        arrays["sample_numbers"].tolist(),
        (ends - arrays["sample_sizes"]).tolist(),
        ends.tolist(),
        strict=True,
    ):
        yield own_hash, first + number, payload[low:high].decode("utf-8", "surrogatepass")


def _scan(folder: Path, corpus: Corpus, highest: int | None) -> dict[str, Any]:
    sample = None if highest is None else Sample(highest=highest)
    blocks = [*scan(pieces_of(corpus), sample)]
    entries = [] if sample is None else [*sample.entries()]
    texts = [text.encode("utf-8", "surrogatepass") for _, _, text in entries]
    empty = np.empty(0, dtype=np.int64)
    np.savez(
        folder / "scan.npz",
        hashes=np.concatenate([empty.astype(np.uint64), *(hashes for hashes, _ in blocks)]),
        characters=np.concatenate([empty, *(characters for _, characters in blocks)]),
        sample_hashes=np.array([own_hash for own_hash, _, _ in entries], dtype=np.uint64),
        sample_numbers=np.array([number for _, number, _ in entries], dtype=np.int64),
        sample_sizes=np.array([len(text) for text in texts], dtype=np.int64),
        sample_text=np.frombuffer(b"".join(texts), dtype=np.uint8),
    )
    num_bytes, highest = (0, 0) if sample is None else (sample.num_bytes, sample.highest)
    return {"num_bytes": num_bytes, "highest": highest, "skipped": corpus.skipped}


def _hash_file(path: Path, spans: list[tuple[int, int]]) -> dict[str, Any]:
    """The sha256 of a file, and of each of its consecutive spans."""
    whole, digests = hashlib.sha256(), []
    with read_errors(path), open_regular(path) as file:
        for low, high in spans:
            part = hashlib.sha256()
            while low < high and (piece := file.read(min(_PIECE_BYTES, high - low))):
                whole.update(piece)
                part.update(piece)
                low += len(piece)
            digests.append(part.hexdigest())
        while piece := file.read(_PIECE_BYTES):  # it grew
            whole.update(piece)
    return {"whole": whole.hexdigest(), "digests": digests}
