"""Does negation reverse an ending? `... was not great and ... was awful so we frowned`.

Two things are described, each with or without `not`, and the last word agrees with both
descriptions: `smiled` or `frowned`. One word differs in a pair. With one `not`, one description has
a good word and the other a bad one, so the words without their order say nothing; with none and
with two, the same words ask for opposite endings. An encoder that ignores `not` scores one half.

It is in no suite: 1 % of the documents of the generated corpus are such sentences, and at `tiny`
with 2M tokens `token` (46 %) and `causal` (48 %, two seeds each) do not differ from chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.corpus.microworld import Split
from bench.corpus.microworld.examples import negation_pairs
from bench.probing.data.generated import GeneratedTask
from bench.probing.families.minimal_pairs import MinimalPairs


class Negation(GeneratedTask, MinimalPairs):
    """Pairs that differ in the last word; the bucket counts the negations, 0 to 2."""

    name: ClassVar[str] = "negation"
    summary: ClassVar[str] = "an ending that agrees with two descriptions, negated or not"
    source: ClassVar[str] = "generated; after Ettinger 2020 and Kassner and Schuetze 2020"
    size: ClassVar[tuple[int, int]] = (0, 300)
    """100 with each number of negations."""
    suites: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("good", "bad", "bucket")

    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """Pairs of the test split; nothing is fitted, so there is no training split."""
        return negation_pairs(count, scale)
