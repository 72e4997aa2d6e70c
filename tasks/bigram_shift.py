"""Have two neighbouring words of the sentence changed places?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class BigramShift(SentenceProbe):
    """Syntax: both classes have the same bag of words."""

    name: ClassVar[str] = "bigram_shift"
    summary: ClassVar[str] = "two neighbouring words swapped, or not"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "bigram_shift"
    suites: ClassVar[tuple[str, ...]] = ("probing", "syntax")
