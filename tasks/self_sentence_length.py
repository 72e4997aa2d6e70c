"""How many words has a sentence of the corpus, in up to six classes?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import parts, questions
from bench.probing.data.sentence_tasks import length_classes, lengths_of
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits


class SelfSentenceLength(TextClassification):
    """Classes of one size; where they begin is read off the part to train on."""

    name: ClassVar[str] = "self_sentence_length"
    summary: ClassVar[str] = "number of words (6 classes), in held-out text"
    source: ClassVar[str] = "made from the corpus; after Conneau et al. 2018"
    chance: ClassVar[float] = 0.167
    """Six classes of one size; `load` knows better where the lengths allow fewer."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        edges = length_classes(parts(data)["train"])
        type(self).chance = 1 / max(len(edges), 1)
        return questions(lengths_of(edges), ("text", "label"), data)
