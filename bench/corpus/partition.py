"""A corpus in two parts: text for training, and text that is held out to measure its loss.

The held-out part is chosen by a hash of each document's text, so it does not depend on the order of
documents, and duplicates are always in the same part.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bench.corpus.sources import DOCUMENT_CHARACTERS, Corpus, cut_document
from bench.errors import BenchError

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt64

Progress = Callable[[str, int], None]
"""Called with the name of a stage and the number of documents read in it."""

_HELD_OUT_SHARE = 0.05
_HELD_OUT_CHARACTERS = 800_000  # about 200k tokens, which give the loss to within 0.01 nats
_MEMORY_CHARACTERS = 1 << 25  # a corpus up to this size is read once instead of three times
_HASH_RANGE = 1 << 64
_MOST_KNOWN = 1_000_000
_BLOCK_TEXTS = 1024
_UTF8 = ("utf-8", "surrogatepass")
SAMPLE_BYTES = 64_000_000
"""A tokenizer is trained on at most so much text."""
_KEPT_BYTES = SAMPLE_BYTES + 4 * (_HELD_OUT_CHARACTERS + DOCUMENT_CHARACTERS)


class HeldOut:
    """The choice of the held-out documents, from the hashes and the lengths of all documents.

    The held-out documents are those with the smallest hashes, up to about 5 % of all documents and
    800,000 characters. At least one is held out if there are two different documents, and never
    all of them.
    """

    def __init__(self) -> None:
        self.copies = 0
        """Documents with the text of an earlier one; counted among the first million texts."""
        self._known = np.empty(0, dtype=np.uint64)
        self._lowest, self._highest = _HASH_RANGE, -1
        self._chosen: dict[int, int] = {}
        self._largest_first: list[int] = []
        self._total = 0

    def add(self, hashes: UInt64[np.ndarray, " N"], characters: Int64[np.ndarray, " N"]) -> None:
        """Take in documents; those without influence are left out before Python sees them."""
        if not len(hashes):
            return
        self._count_copies(hashes)
        self._lowest = min(self._lowest, int(hashes.min()))
        self._highest = max(self._highest, int(hashes.max()))
        limit = int(_HELD_OUT_SHARE * _HASH_RANGE)
        if self._total >= _HELD_OUT_CHARACTERS:
            limit = -self._largest_first[0]
        is_candidate = hashes <= np.uint64(limit)
        for text_hash, length in zip(
            hashes[is_candidate].tolist(), characters[is_candidate].tolist(), strict=True
        ):
            if text_hash not in self._chosen:
                heapq.heappush(self._largest_first, -text_hash)
            self._chosen[text_hash] = self._chosen.get(text_hash, 0) + length
            self._total += length
            while self._total - self._chosen[-self._largest_first[0]] >= _HELD_OUT_CHARACTERS:
                self._total -= self._chosen.pop(-heapq.heappop(self._largest_first))

    @property
    def is_empty(self) -> bool:
        """Whether there was no document."""
        return self._highest < 0

    def threshold(self) -> int:
        """The hash below which a document is held out."""
        if self._lowest >= self._highest:  # no document, or copies of one document
            return 0
        last = -self._largest_first[0] if self._largest_first else self._lowest
        return (last if last < self._highest else self._lowest) + 1

    def _count_copies(self, hashes: UInt64[np.ndarray, " N"]) -> None:
        distinct, first = np.unique(hashes, return_index=True)
        is_new = ~_contains(self._known, distinct)
        new = distinct[is_new][np.argsort(first[is_new])][: _MOST_KNOWN - len(self._known)]
        if len(new):
            self._known = np.sort(np.concatenate((self._known, new)))
        self.copies += int(_contains(self._known, hashes).sum()) - len(new)


def _contains(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each value is among sorted ones."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    is_known: np.ndarray = (
        known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    )
    return is_known


class Sample:
    """A sample of texts to train a tokenizer on: those with the smallest hashes.

    A corpus up to the limit is its own sample, with all copies. Of a larger one each text is taken
    once, so that one text with a million copies does not fill the sample. The order in which texts
    are added plays no part, so that the samples of the parts of a corpus can be added.

    Args:
        most_bytes: Bytes of all texts that are kept.
        highest: Texts with a larger hash are not kept.
    """

    def __init__(self, most_bytes: int = _KEPT_BYTES, highest: int = _HASH_RANGE) -> None:
        self.highest = highest
        self.num_bytes = 0
        """Bytes of all texts that were added, kept or not."""
        self._most, self._kept_bytes = most_bytes, 0
        self._texts: dict[int, tuple[str, list[int]]] = {}
        self._largest_first: list[int] = []

    def add(self, own_hash: int, size: int, number: int, text: str) -> None:
        """Take in a text with a hash, a size in bytes, and a number by its place in the corpus."""
        self.num_bytes += size
        self._keep(own_hash, size, number, text)

    def _keep(self, own_hash: int, size: int, number: int, text: str) -> None:
        if own_hash > self.highest:
            return
        if own_hash in self._texts:
            numbers = self._texts[own_hash][1]
            numbers.append(number)
            if self.num_bytes > self._most:
                numbers[:] = [min(numbers)]
            return
        self._texts[own_hash] = text, [number]
        heapq.heappush(self._largest_first, -own_hash)
        self._kept_bytes += size
        while self._kept_bytes > self._most:
            self.highest = self._drop_largest() - 1

    def _drop_largest(self) -> int:
        """Drop the text with the largest hash, and return the hash."""
        own_hash = -heapq.heappop(self._largest_first)
        self._kept_bytes -= len(self._texts.pop(own_hash)[0].encode(*_UTF8))
        return own_hash

    def add_part(
        self, num_bytes: int, entries: Iterable[tuple[int, int, str]], highest: int
    ) -> None:
        """Take in what the sample of a part has: a hash, a number and a text each.

        What had no room in a part has none in the whole, and neither has any larger hash.
        """
        self.num_bytes += num_bytes
        self.highest = min(self.highest, highest)
        while self._largest_first and -self._largest_first[0] > self.highest:
            self._drop_largest()
        for own_hash, number, text in entries:
            self._keep(own_hash, len(text.encode(*_UTF8)), number, text)

    def entries(self) -> Iterator[tuple[int, int, str]]:
        """The hash, the number and the text of everything that is kept."""
        for own_hash, (text, numbers) in self._texts.items():
            for number in numbers:
                yield own_hash, number, text

    def training_texts(self, threshold: int, most_bytes: int = SAMPLE_BYTES) -> list[str]:
        """Texts with hashes from a threshold on, up to a number of bytes, in order."""
        own = {h: texts for h, texts in sorted(self._texts.items()) if h >= threshold}
        sizes = [len(text.encode(*_UTF8)) for text, _ in own.values()]
        with_copies = sum(
            size * len(numbers) for size, (_, numbers) in zip(sizes, own.values(), strict=True)
        )
        if self.num_bytes > self._most or with_copies > most_bytes:
            count = int(np.searchsorted(np.cumsum(sizes), most_bytes, side="right"))
            own = {h: (text, [min(numbers)]) for h, (text, numbers) in [*own.items()][:count]}
        pairs = sorted((n, text) for text, numbers in own.values() for n in numbers)
        return [text for _, text in pairs]


class PartitionedCorpus:
    """The pieces of a corpus, divided into a training and a held-out part.

    A small corpus is read once and stays in memory; a large one is read again to be encoded.

    Args:
        corpus: The corpus to read.
        on_progress: Called once per thousand documents.
        has_sample: Whether a tokenizer is trained on a sample.
    """

    def __init__(self, corpus: Corpus, on_progress: Progress, has_sample: bool = True) -> None:
        self.corpus = corpus
        self.on_progress = on_progress
        self.held_out = HeldOut()
        self.threshold: int | None = None
        """The hash below which a document is held out, after `choose_held_out`."""
        self.scanned = ""
        """The fingerprint of the text that was read to choose it."""
        self.sample = Sample() if has_sample else None
        self._in_memory: list[str] | None = None

    def documents(self, stage: str) -> Iterator[str]:
        """All documents, cut to pieces; `stage` is the name reported to `on_progress`."""
        number = 0
        for number, piece in enumerate(self._in_memory or self._read(), start=1):
            if number % 1000 == 1:
                self.on_progress(stage, number - 1)
            yield piece
        self.on_progress(stage, number)

    def training_texts(self) -> Iterator[str]:
        """The text for a tokenizer: the training part, or a sample of it drawn by hash.

        The first text instead would be biased where a corpus is sorted, as by source or language.
        """
        assert self.sample is not None
        assert self.threshold is not None
        stage = "training the tokenizer"
        texts = self.sample.training_texts(self.threshold)
        self.sample = None
        for number, text in enumerate(texts):
            if number % 1000 == 0:
                self.on_progress(stage, number)
            yield text

    def choose_held_out(self) -> None:
        """Read all documents once to choose the held-out part and the sample.

        Raises:
            BenchError: There is no text in the corpus.
        """
        if self.threshold is not None:
            return
        documents = self.documents("choosing the held-out documents")
        for hashes, characters in scan(documents, self.sample):
            self.held_out.add(hashes, characters)
        self.set_threshold()

    def set_threshold(self) -> None:
        """Set the threshold and the fingerprint, after all documents.

        Raises:
            BenchError: There is no text in the corpus.
        """
        if self.held_out.is_empty:
            skipped = f" (left out: {self.corpus.skipped})" if self.corpus.skipped else ""
            raise BenchError(f"no text in the corpus {self.corpus.display_name}{skipped}")
        self.threshold = self.held_out.threshold()
        self.scanned = self.corpus.fingerprint_read()

    def _read(self) -> Iterator[str]:
        """The pieces from their source; stored after a full pass if they are small enough."""
        pieces: list[str] | None = []
        remaining = _MEMORY_CHARACTERS
        for piece in pieces_of(self.corpus):
            remaining -= len(piece)
            if remaining < 0:
                pieces = None
            if pieces is not None:
                pieces.append(piece)
            yield piece
        self._in_memory = pieces


def pieces_of(corpus: Corpus) -> Iterator[str]:
    """The documents of a corpus, cut to pieces."""
    for document in corpus.documents():
        yield from cut_document(document)


def scan(
    texts: Iterable[str], sample: Sample | None
) -> Iterator[tuple[UInt64[np.ndarray, " N"], Int64[np.ndarray, " N"]]]:
    """The hashes and the lengths of texts, block by block; the sample takes in all of them."""
    numbered = enumerate(texts)
    while block := list(itertools.islice(numbered, _BLOCK_TEXTS)):
        hashes = []
        for number, text in block:
            payload = text.encode(*_UTF8)
            hashes.append(_hash(payload))
            if sample is not None:
                sample.add(hashes[-1], len(payload), number, text)
        lengths = [len(text) for _, text in block]
        yield np.array(hashes, dtype=np.uint64), np.array(lengths, dtype=np.int64)


def one_text(documents: int) -> str:
    """The content of a corpus without a held-out part, in words."""
    return "one document" if documents < 2 else f"one text {documents:,} times"


def text_hash(text: str) -> int:
    """64 bits of a text's sha256."""
    return _hash(text.encode(*_UTF8))


def _hash(payload: bytes) -> int:
    return int.from_bytes(hashlib.sha256(payload).digest()[:8])
