"""Are two sentences of the corpus in their original order?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, swap_order
from bench.probing.families.classification import TextClassification


class SelfSentenceOrder(SelfSupervised, TextClassification):
    """Only the order differs, so a bag of words carries no information."""

    name: ClassVar[str] = "self_sentence_order"
    summary: ClassVar[str] = "two sentences in their order, or swapped, in held-out text"
    source: ClassVar[str] = (
        "made from the corpus; after Lan et al. 2020 (sentence order prediction)"
    )

    def maker(self, parts: Parts) -> Maker:
        """Swap every other pair of sentences."""
        return swap_order
