"""Is a word like `walk` a noun or a verb here?

`they daily and early walk near the old gate before the weekly race by the red wall .`; or, decided
only by what follows, `the nurse plans near the old gate after the judge walks by ... were long .`
Every sentence holds one of each.
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


class WordClass(Tagging):
    """One of the two noun-or-verb words of each sentence is asked about."""

    name: ClassVar[str] = "word_class"
    summary: ClassVar[str] = "noun or verb, one spelling"
    source: ClassVar[str] = "generated; after the noun-verb challenge set (Elkahky et al. 2018)"
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.5
    """Two classes, equally frequent."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    def load(self, data: DataRoot) -> Splits:
        """Generate the sentences; none is in the corpus, none in both splits."""
        scale = SCALES.get(data.size, 1)
        return generated_splits(
            partial(one_word, "word_class"), NUM_SENTENCES, ("words", "labels"), scale, data
        )
