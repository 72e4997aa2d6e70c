"""Do two sentences of the corpus stand in the order in which they were written?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import questions
from bench.probing.data.sentence_tasks import order_swapped
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfSentenceOrder(TextClassification):
    """Only the order differs, so a bag of words has nothing to go by."""

    name: ClassVar[str] = "self_sentence_order"
    summary: ClassVar[str] = "two sentences in their order, or swapped, in held-out text"
    source: ClassVar[str] = (
        "made from the corpus; after Lan et al. 2020 (sentence order prediction)"
    )
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        return questions(order_swapped, ("text", "label"), data)
