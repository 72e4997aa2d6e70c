"""Which one of 1,000 words does the sentence contain?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class WordContent(SentenceProbe):
    """Surface: trivial for a bag of words; an encoder only has to keep the information."""

    name: ClassVar[str] = "word_content"
    summary: ClassVar[str] = "which of 1,000 words occurs (1,000 classes)"
    chance: ClassVar[float] = 0.001
    """1,000 classes of one size."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "word_content"
