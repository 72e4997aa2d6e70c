"""Has a word of a sentence of the corpus been replaced by another of equal frequency?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, replace_one
from bench.probing.families.classification import TextClassification


class SelfOddWordOut(SelfSupervised, TextClassification):
    """The class of replaced sentences keeps, as a whole, its words."""

    name: ClassVar[str] = "self_odd_word_out"
    summary: ClassVar[str] = "one word replaced, or not, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"

    def maker(self, parts: Parts) -> Maker:
        """Replace a word of every other sentence."""
        return replace_one
