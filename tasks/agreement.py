"""Is `is` or `are` likelier, with none, one or two other nouns between subject and verb?

`the towers near the old gate that they saw are famous ...`. Only forms of one word each differ, so
the number of hidden tokens carries no information. Half of the nouns in between match the subject,
so the number of the nearest noun scores one half. Larger sizes have up to three more nouns in
between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.corpus.microworld import Split
from bench.corpus.microworld.examples import agreement_pairs
from bench.probing.data.generated import GeneratedTask
from bench.probing.families.minimal_pairs import MinimalPairs


class Agreement(GeneratedTask, MinimalPairs):
    """Pairs that differ in `is`/`are` or `was`/`were`; the bucket counts the nouns between."""

    name: ClassVar[str] = "agreement"
    summary: ClassVar[str] = "subject and verb agree in number, across 0 to 2 other nouns"
    source: ClassVar[str] = "generated; after Linzen et al. 2016"
    size: ClassVar[tuple[int, int]] = (0, 300)
    """100 with each number of nouns in between: a pair costs as many passes as it has words."""
    columns: ClassVar[tuple[str, ...]] = ("good", "bad", "bucket")

    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """Pairs of the test split; nothing is fitted, so there is no training split."""
        return agreement_pairs(count, scale)
