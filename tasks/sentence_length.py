"""How many words has the sentence, in six classes?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.tables import SentenceProbe


class SentenceLength(SentenceProbe):
    """Surface: a bag of words has half of the information."""

    name: ClassVar[str] = "sentence_length"
    summary: ClassVar[str] = "number of words (6 classes)"
    chance: ClassVar[float] = 0.183
    """The most frequent class of the UD edition; 1/6 in SentEval's."""
    size: ClassVar[tuple[int, int]] = (100_000, 10_000)
    file: ClassVar[str] = "sentence_length"
