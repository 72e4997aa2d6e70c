"""Which one of twenty words does a sentence of the corpus contain?"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, word_maker
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfWordContent(SelfSupervised, TextClassification):
    """Trivial for a bag of words; an encoder only has to keep the information."""

    name: ClassVar[str] = "self_word_content"
    summary: ClassVar[str] = "which of twenty words occurs, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.05
    """Twenty classes of one size; `load` corrects it where fewer words are frequent enough."""

    def load(self, data: DataRoot) -> Splits:
        """Make the examples; the share of their most frequent class is the chance level."""
        splits = super().load(data)
        shares = splits.test["label"].value_counts(normalize=True)
        return dataclasses.replace(splits, chance=float(shares.max()))

    def maker(self, parts: Parts) -> Maker:
        """Label each sentence with its word."""
        return word_maker(parts)
