"""Features kept in memory between tasks, up to a bound: the least recently asked go first.

Kept as float32: half of the precision would be 0.1 % of a feature's size, and a feature whose mean
is far from zero carries its message in less than that.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from bench.probing.task import Span

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_BYTES = 2**29
"""Texts return mostly within a task (its second reading, its other probes), seldom in another."""

Words = tuple[Span, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """One text as the encoder sees it."""

    pooled: Float[np.ndarray, "S 3 D"]
    words: Float[np.ndarray, "T S D"]
    truncated: bool


class FeatureCache:
    """Features by text and the words asked of it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Words], Read] = OrderedDict()
        self.bytes = 0

    def get(self, text: str, words: Words) -> Read | None:
        """What was kept, if it still is."""
        found = self._kept.get((text, words))
        if found is not None:
            self._kept.move_to_end((text, words))
        return found

    def put(self, text: str, words: Words, read: Read) -> None:
        """Keep it, and forget what is too much."""
        if (text, words) in self._kept:
            return
        self._kept[text, words] = read
        self.bytes += _bytes(words, read)
        while self.bytes > MAX_BYTES:
            (_, gone_words), gone = self._kept.popitem(last=False)
            self.bytes -= _bytes(gone_words, gone)


def _bytes(words: Words, read: Read) -> int:
    """Pooled features are shared by all entries of a text and counted with the one of no words."""
    return read.words.nbytes if words else read.pooled.nbytes
