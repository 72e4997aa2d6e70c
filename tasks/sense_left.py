"""Which sense has an ambiguous noun, when what decides stands to its left?

`when fed and sleeping near the old gate , the crane was sold ...`: an animal. Every sentence holds
verbs of both senses, clause after clause, one clause inside the other, or crossed; what follows
the noun says nothing. An objective that reads from left to right has all it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from bench.corpus.microworld import SCALES, Split
from bench.corpus.microworld.examples import one_word
from bench.probing.data.datasets import generated_splits
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits

NUM_SENTENCES: Mapping[Split, int] = {"train": 1500, "test": 800}


class SenseLeft(Tagging):
    """Animal, tool or food; one noun of each sentence is asked about."""

    name: ClassVar[str] = "sense_left"
    summary: ClassVar[str] = "sense of an ambiguous noun, decided to its left"
    source: ClassVar[str] = "generated; after word-in-context (Pilehvar and Camacho-Collados 2019)"
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.5
    """Knowing the word leaves two senses, and the sentence holds verbs of both."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    def load(self, data: DataRoot) -> Splits:
        """Generate the sentences; none is in the corpus, none in both splits."""
        scale = SCALES.get(data.size, 1)
        return generated_splits(
            partial(one_word, "sense_left"), NUM_SENTENCES, ("words", "labels"), scale, data
        )
