"""Does the run expect `is` or `are`, with none, one or two other nouns in between?

`the towers near the old gate that they saw are famous ...`. Only forms of one word each differ, so
that the number of hidden tokens tells nothing; half of the nouns in between match the subject, so
that following the nearest one scores a half. Larger sizes have up to three more nouns in between.
"""

from __future__ import annotations

from typing import ClassVar

from bench.corpus.microworld import SCALES
from bench.corpus.microworld.examples import agreement_pairs
from bench.probing.data.datasets import as_splits
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.task import DataRoot, Splits

NUM_PAIRS = 300
"""100 with each number of nouns in between: a pair costs as many readings as it has words. Here as
in the other generated tasks, so many at `tiny`, and two to four times as many at larger sizes."""


class Agreement(MinimalPairs):
    """Pairs that differ in `is`/`are` or `was`/`were`; the bucket counts the nouns between."""

    name: ClassVar[str] = "agreement"
    summary: ClassVar[str] = "subject and verb agree in number, across 0 to 2 other nouns"
    source: ClassVar[str] = "generated; after Linzen et al. 2016"
    metric: ClassVar[str] = "accuracy"
    chance: ClassVar[float] = 0.5
    size: ClassVar[tuple[int, int]] = (0, 300)
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    def load(self, data: DataRoot) -> Splits:
        """Generate the pairs; nothing is fitted, so there is no training split."""
        import pandas as pd

        pairs = agreement_pairs(NUM_PAIRS, SCALES.get(data.size, 1))
        test = pd.DataFrame(pairs, columns=["good", "bad", "bucket"])
        return as_splits(test[:0], test, data)
