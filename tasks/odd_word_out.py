"""Has a noun or verb been replaced by another? SentEval's semantic odd man out."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class OddWordOut(SentenceProbe):
    """Meaning: the word pairs that arise are as frequent as those that were there."""

    name: ClassVar[str] = "odd_word_out"
    summary: ClassVar[str] = "a noun or verb replaced, or not"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "odd_man_out"
