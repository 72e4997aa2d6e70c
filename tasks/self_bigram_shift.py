"""Have two neighbouring words of a sentence of the corpus changed places?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, swap_neighbours
from bench.probing.families.classification import TextClassification


class SelfBigramShift(SelfSupervised, TextClassification):
    """The bag of words is the same; the first word, with its capital, keeps its place."""

    name: ClassVar[str] = "self_bigram_shift"
    summary: ClassVar[str] = "two neighbouring words swapped, or not, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"

    def maker(self, parts: Parts) -> Maker:
        """Swap two words of every other sentence."""
        return swap_neighbours
