"""Which one of twenty words does a sentence of the corpus hold?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import parts, questions
from bench.probing.data.sentence_tasks import word_occurring
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfWordContent(TextClassification):
    """Trivial for a bag of words, and for an encoder a matter of not forgetting."""

    name: ClassVar[str] = "self_word_content"
    summary: ClassVar[str] = "which of twenty words occurs, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.05
    """Twenty classes of one size; `load` knows better where fewer words are frequent enough."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        splits = questions(word_occurring(parts(data)), ("text", "label"), data)
        type(self).chance = 1 / splits.train["label"].nunique()
        return splits
