"""A corpus in two parts: text for training, and text that is held out to measure its loss.

The held-out part is chosen by a hash of each document's text, so it does not depend on the order of
documents, and duplicates are always in the same part.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator

from bench.corpus.sources import Corpus, cut_document
from bench.errors import BenchError

Progress = Callable[[str, int], None]
"""Called with the name of a stage and the number of documents read in it."""

_HELD_OUT_SHARE = 0.05
_HELD_OUT_CHARACTERS = 800_000  # about 200k tokens, which give the loss to within 0.01 nats
_MEMORY_CHARACTERS = 1 << 25  # a corpus up to this size is read once instead of three times
_HASH_RANGE = 1 << 64
_MOST_KNOWN = 1_000_000


class PartitionedCorpus:
    """The pieces of a corpus, divided into a training and a held-out part.

    A small corpus is read once and stays in memory; a large one is read again for each pass.

    Args:
        corpus: The corpus to read.
        on_progress: Called once per thousand documents.
    """

    def __init__(self, corpus: Corpus, on_progress: Progress) -> None:
        self.corpus = corpus
        self._on_progress = on_progress
        self.copies = 0
        """Documents with the text of an earlier one; counted among the first million texts."""
        self._threshold: int | None = None
        self._in_memory: list[str] | None = None

    def documents(self, stage: str) -> Iterator[str]:
        """All documents, cut to pieces; `stage` is the name reported to `on_progress`."""
        number = 0
        for number, piece in enumerate(self._in_memory or self._read(), start=1):
            if number % 1000 == 1:
                self._on_progress(stage, number - 1)
            yield piece
        self._on_progress(stage, number)

    def training_documents(self, stage: str) -> Iterator[str]:
        """The documents of the training part, after `choose_held_out`."""
        return (text for text in self.documents(stage) if not self.is_held_out(text))

    def choose_held_out(self) -> None:
        """Read all documents once to choose the held-out part.

        Raises:
            BenchError: There is no text in the corpus.
        """
        if self._threshold is not None:
            return
        documents = self.documents("choosing the held-out documents")
        first = next(documents, None)
        if first is None:
            skipped = f" (left out: {self.corpus.skipped})" if self.corpus.skipped else ""
            raise BenchError(f"no text in the corpus {self.corpus.display_name}{skipped}")
        self._threshold = held_out_threshold(
            self._count_copies(
                (_text_hash(text), len(text)) for text in itertools.chain([first], documents)
            )
        )

    def _count_copies(self, hashes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        known: set[int] = set()
        for text_hash, length in hashes:
            if text_hash in known:
                self.copies += 1
            elif len(known) < _MOST_KNOWN:
                known.add(text_hash)
            yield text_hash, length

    def is_held_out(self, text: str) -> bool:
        """Whether a document belongs to the held-out part, after `choose_held_out`."""
        return _text_hash(text) < (self._threshold or 0)

    def _read(self) -> Iterator[str]:
        """The pieces from their source; stored after a full pass if they are small enough."""
        pieces: list[str] | None = []
        remaining = _MEMORY_CHARACTERS
        for document in self.corpus.documents():
            for piece in cut_document(document):
                remaining -= len(piece)
                if remaining < 0:
                    pieces = None
                if pieces is not None:
                    pieces.append(piece)
                yield piece
        self._in_memory = pieces


def one_text(documents: int) -> str:
    """What a corpus without a held-out part consists of."""
    return "one document" if documents < 2 else f"one text {documents:,} times"


def held_out_threshold(documents: Iterable[tuple[int, int]]) -> int:
    """The hash below which a document is held out.

    The held-out documents are those with the smallest hashes, up to about 5 % of all documents and
    800,000 characters. At least one is held out if there are two different documents, and never
    all of them.

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
    if lowest >= highest:  # no document, or copies of one document
        return 0
    last = -largest_first[0] if largest_first else lowest
    return (last if last < highest else lowest) + 1


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
