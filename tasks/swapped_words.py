"""Have two neighbouring words of the sentence changed places?

`the cakes by the busy were wall spoiling ...`. The words that are swapped in train are never
swapped in test, so that word pairs learnt by heart say nothing: with the same words in both, pairs
alone solve 82 %. What helps is to know which words are alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.corpus.microworld import SCALES, Split
from bench.corpus.microworld.examples import swapped
from bench.probing.data.datasets import generated_splits
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot, Splits

NUM_SENTENCES: Mapping[Split, int] = {"train": 1500, "test": 800}


class SwappedWords(TextClassification):
    """Sentences of all kinds, every other one with two words swapped."""

    name: ClassVar[str] = "swapped_words"
    summary: ClassVar[str] = "two neighbouring words swapped, or not"
    source: ClassVar[str] = "generated; after bigram shift (Conneau et al. 2018)"
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.5
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    def load(self, data: DataRoot) -> Splits:
        """Generate the sentences; none is in the corpus, none in both splits."""
        scale = SCALES.get(data.size, 1)
        return generated_splits(swapped, NUM_SENTENCES, ("text", "label"), scale, data)
