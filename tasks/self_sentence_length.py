"""How many words has a sentence of the corpus, in at most six classes?"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, length_classes, length_maker
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfSentenceLength(SelfSupervised, TextClassification):
    """Classes of one size; the training part determines where they begin."""

    name: ClassVar[str] = "self_sentence_length"
    summary: ClassVar[str] = "number of words (6 classes), in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.167
    """Six classes of one size; `load` corrects it where the lengths allow fewer classes."""

    def load(self, data: DataRoot) -> Splits:
        """Make the examples; the share of their most frequent class is the chance level."""
        splits = super().load(data)
        shares = splits.test["label"].value_counts(normalize=True)
        return dataclasses.replace(splits, chance=float(shares.max()))

    def maker(self, parts: Parts) -> Maker:
        """Label each sentence with its length class."""
        return length_maker(length_classes(parts["train"]))
