"""Have two neighbouring words of a sentence of the corpus changed places?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import questions
from bench.probing.data.sentence_tasks import neighbours_swapped
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfBigramShift(TextClassification):
    """The bag of words is the same; the first word, with its capital, stays."""

    name: ClassVar[str] = "self_bigram_shift"
    summary: ClassVar[str] = "two neighbouring words swapped, or not, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        return questions(neighbours_swapped, ("text", "label"), data)
