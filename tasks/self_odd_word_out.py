"""Has a word of a sentence of the corpus been replaced by one as frequent?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import questions
from bench.probing.data.sentence_tasks import one_replaced
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfOddWordOut(TextClassification):
    """The class of replaced sentences has, as a whole, the words that it had."""

    name: ClassVar[str] = "self_odd_word_out"
    summary: ClassVar[str] = "one word replaced, or not, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        return questions(one_replaced, ("text", "label"), data)
