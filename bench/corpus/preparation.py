"""From a corpus to token stores in the cache: built once, then shared by every run that names it.

The held-out part is chosen by a hash of each document's text, so it does not depend on the order of
documents and duplicates never straddle the two parts. The tokenizer is trained on the rest. Keys
are of content (corpus, tokenizer, format), so an edited corpus is built anew beside the old one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import heapq
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.corpus.sources import Corpus, cut_document
from bench.corpus.store import StoreWriter, TokenStore
from bench.corpus.tokenizer import TextTokenizer, tokenizer_sha256
from bench.corpus.trainer import char_tokenizer, train_tokenizer
from bench.errors import BenchError, RefusedError
from bench.settings import canonical_json
from bench.storage import (
    MANIFEST,
    disk_errors,
    exclusive,
    new_folder,
    sweep_leftovers,
    verify_manifest,
    write_manifest,
)

Progress = Callable[[str, int], None]
"""Called with what is being done and how many documents that has come to."""

_FORMAT = 2
_HELD_OUT_SHARE = 0.05
_HELD_OUT_CHARACTERS = 800_000  # about 200k tokens: a loss on that many is good to 0.01 nats
_KEPT_CHARACTERS = 1 << 25  # so small a corpus is read once and not three times
_HASH_RANGE = 1 << 64
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """Everything about a corpus that pretraining needs."""

    folder: Path
    """Where it lies in the cache."""
    train: TokenStore
    heldout: TokenStore | None
    """None where the corpus is a single document."""
    tokenizer: TextTokenizer
    corpus_sha256: str
    tokenizer_sha256: str
    name: str
    documents: int
    """Of both parts; a document over 100,000 characters counts as several."""
    skipped: dict[str, int]


def default_cache() -> Path:
    """$BENCH_CACHE, else bench/ in the user's cache folder.

    Raises:
        BenchError: There is no home folder to have one in.
    """
    if named := os.environ.get("BENCH_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "bench"
    try:
        return Path.home() / ".cache" / "bench"
    except RuntimeError:
        raise BenchError("no home folder for the cache; set BENCH_CACHE to a folder") from None


def prepare_corpus(
    corpus: Corpus,
    tokenizer: str | Path | None,
    vocab_size: int,
    cache: Path,
    on_progress: Progress | None = None,
) -> PreparedCorpus:
    """The token stores of a corpus, from the cache or built into it.

    Safe to call from many processes at once: one builds, the others wait for it.

    Args:
        corpus: What to read.
        tokenizer: A tokenizer.json, or "char", or None: train byte-level BPE on the corpus.
        vocab_size: For a tokenizer made here: its entries at most.
        cache: Folder to build in (see `default_cache`).
        on_progress: Told what is going on.

    Raises:
        BenchError: No text in the corpus, or the cache cannot be written.
        RefusedError: A file of the cache was changed, or the corpus while it was read.
        FailedError: The disk is full.
    """
    fingerprint = corpus.fingerprint()
    with _writable(cache):
        reading = _Reading(corpus, on_progress or (lambda stage, documents: None))
        if tokenizer is None or tokenizer == "char":
            folder = _tokenizer_folder(cache, fingerprint, tokenizer, vocab_size)
            with _once(folder) as is_missing:
                if is_missing:
                    _build_tokenizer(folder, reading, tokenizer, vocab_size)
            verify_manifest(folder)
            text_tokenizer = TextTokenizer.from_file(folder / "tokenizer.json")
        else:
            text_tokenizer = TextTokenizer.from_file(Path(tokenizer))
        folder = _store_folder(cache, fingerprint, text_tokenizer.sha256)
        with _once(folder) as is_missing:
            if is_missing:
                _build_stores(folder, reading, text_tokenizer, fingerprint)
    return open_prepared(folder)


def open_prepared(folder: Path) -> PreparedCorpus:
    """What `prepare_corpus` built, by its folder: the corpus itself is not read again.

    Raises:
        RefusedError: A file of it was changed.
    """
    manifest = verify_manifest(folder)
    return PreparedCorpus(
        folder=folder,
        train=TokenStore.open(folder / "train"),
        heldout=TokenStore.open(folder / "heldout") if manifest["has_heldout"] else None,
        tokenizer=TextTokenizer.from_file(folder / "tokenizer.json"),
        corpus_sha256=manifest["corpus_sha256"],
        tokenizer_sha256=manifest["tokenizer_sha256"],
        name=manifest["corpus"],
        documents=manifest["documents"],
        skipped=manifest["skipped"],
    )


def find_prepared(
    corpus: Corpus, tokenizer: str | Path | None, vocab_size: int, cache: Path
) -> Path | None:
    """The folder where `prepare_corpus` would find its stores built; changes nothing."""
    fingerprint = corpus.fingerprint()
    if tokenizer is None or tokenizer == "char":
        folder = _tokenizer_folder(cache, fingerprint, tokenizer, vocab_size)
        if not (folder / MANIFEST).is_file():
            return None
        tokenizer = folder / "tokenizer.json"
    return stores_of(cache, fingerprint, tokenizer_sha256(Path(tokenizer)))


def stores_of(cache: Path, corpus_sha256: str, tokenizer: str) -> Path | None:
    """The folder of the stores that a record names by two hashes, if the cache has them."""
    stores = _store_folder(cache, corpus_sha256, tokenizer)
    return stores if (stores / MANIFEST).is_file() else None


class _Reading:
    """A corpus as pieces, parted into training and held-out text; a small one is read once."""

    def __init__(self, corpus: Corpus, on_progress: Progress) -> None:
        self.corpus = corpus
        self._on_progress = on_progress
        self._held_out_below: int | None = None
        self._kept: list[str] | None = None

    def documents(self, stage: str) -> Iterator[str]:
        number = 0
        for number, piece in enumerate(self._kept or self._read(), start=1):
            if number % 1000 == 1:
                self._on_progress(stage, number - 1)
            yield piece
        self._on_progress(stage, number)

    def _read(self) -> Iterator[str]:
        """The pieces from their source; kept once all are read, if they are not too many."""
        kept: list[str] | None = []
        room = _KEPT_CHARACTERS
        for document in self.corpus.documents():
            for piece in cut_document(document):
                room -= len(piece)
                if room < 0:
                    kept = None
                if kept is not None:
                    kept.append(piece)
                yield piece
        self._kept = kept

    def training_documents(self, stage: str) -> Iterator[str]:
        return (text for text in self.documents(stage) if not self.is_held_out(text))

    def part(self) -> None:
        """Read everything once to choose the held-out part."""
        if self._held_out_below is not None:
            return
        documents = self.documents("reading")
        first = next(documents, None)
        if first is None:
            left_out = f" (left out: {self.corpus.skipped})" if self.corpus.skipped else ""
            raise BenchError(f"no text in the corpus {self.corpus.display_name}{left_out}")
        self._held_out_below = held_out_below(
            (_text_hash(text), len(text)) for text in itertools.chain([first], documents)
        )

    def is_held_out(self, text: str) -> bool:
        """Which part a document belongs to, after `part`."""
        return _text_hash(text) < (self._held_out_below or 0)


def held_out_below(documents: Iterator[tuple[int, int]]) -> int:
    """The hash below which a document is held out.

    The documents of smallest hash, to about 5 % of them all and 800,000 characters; at least one
    if there are two different ones, and never all.

    Args:
        documents: (64-bit hash, characters) of each, in any order.
    """
    lowest, highest = _HASH_RANGE, -1
    chosen: dict[int, int] = {}
    largest_first: list[int] = []
    total = 0
    for text_hash, length in documents:
        lowest, highest = min(lowest, text_hash), max(highest, text_hash)
        if text_hash >= _HELD_OUT_SHARE * _HASH_RANGE:
            continue
        if text_hash not in chosen:
            heapq.heappush(largest_first, -text_hash)
        chosen[text_hash] = chosen.get(text_hash, 0) + length
        total += length
        while total - chosen[-largest_first[0]] >= _HELD_OUT_CHARACTERS:
            total -= chosen.pop(-heapq.heappop(largest_first))
    if lowest >= highest:  # nothing, or one document over and over
        return 0
    last = -largest_first[0] if largest_first else lowest
    return (last if last < highest else lowest) + 1


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])


def _build_tokenizer(folder: Path, reading: _Reading, kind: str | Path | None, size: int) -> None:
    reading.part()
    texts = reading.training_documents("training the tokenizer")
    made = char_tokenizer(texts, size) if kind == "char" else train_tokenizer(texts, size)
    with new_folder(folder) as building:
        made.save(building / "tokenizer.json")
        write_manifest(building, ["tokenizer.json"], vocabulary=made.vocabulary.size)


def _build_stores(
    folder: Path, reading: _Reading, tokenizer: TextTokenizer, fingerprint: str
) -> None:
    reading.part()
    corpus = reading.corpus
    with new_folder(folder) as building, contextlib.ExitStack() as stack:
        writers = []
        for part in ("train", "heldout"):
            (building / part).mkdir()
            writers.append(stack.enter_context(StoreWriter(building / part, tokenizer.vocabulary)))
        for text, encoded in tokenizer.stream(reading.documents("encoding")):
            writers[reading.is_held_out(text)].add(text, encoded)
        if not writers[0].num_tokens:
            raise BenchError(f"the tokenizer finds no token in the corpus {corpus.display_name}")
        if (now := corpus.fingerprint()) != fingerprint:
            raise RefusedError(
                f"the corpus {corpus.display_name} was changed while it was read: fingerprint "
                f"{fingerprint} before, {now} after; repeat the command"
            )
        for writer in writers:
            writer.close()
        tokenizer.save(building / "tokenizer.json")
        write_manifest(
            building,
            ["tokenizer.json", f"train/{MANIFEST}", f"heldout/{MANIFEST}"],
            corpus=corpus.display_name,
            corpus_sha256=fingerprint,
            tokenizer_sha256=tokenizer.sha256,
            documents=sum(writer.num_documents for writer in writers),
            has_heldout=writers[1].num_tokens > 0,
            skipped=dict(corpus.skipped),
        )


def _tokenizer_folder(cache: Path, fingerprint: str, kind: str | Path | None, size: int) -> Path:
    return cache / "tokenizers" / _key("tokenizer", kind or "bpe", fingerprint, size)


def _store_folder(cache: Path, fingerprint: str, tokenizer: str) -> Path:
    return cache / "stores" / _key("store", fingerprint, tokenizer)


def _key(*parts: Any) -> str:
    described = canonical_json([_FORMAT, *map(str, parts)])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _once(folder: Path) -> Iterator[bool]:
    """Whether a folder of the cache has still to be built; while it has, nobody else builds it."""
    if folder.exists():
        yield False
        return
    with exclusive(folder.parent / f"{folder.name}.lock"):
        sweep_leftovers(folder.parent)
        yield not folder.exists()


@contextlib.contextmanager
def _writable(cache: Path) -> Iterator[None]:
    try:
        with disk_errors(cache):
            yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise BenchError(
            f"the cache folder {cache} cannot be written ({error.strerror}: {error.filename}); "
            f"set BENCH_CACHE to a folder that can"
        ) from None
