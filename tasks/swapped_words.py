"""Have two neighbouring words of the sentence changed places?

`the cakes by the busy were wall spoiling ...`. The words that are swapped in train are never
swapped in test, so memorised word pairs say nothing: with the same words in both splits, pairs
alone solve 82 %. The useful knowledge is which words are similar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.corpus.microworld import Split
from bench.corpus.microworld.examples import swap_examples
from bench.probing.data.generated import GeneratedTask
from bench.probing.families.classification import TextClassification


class SwappedWords(GeneratedTask, TextClassification):
    """Sentences of all kinds; every other one has two swapped words."""

    name: ClassVar[str] = "swapped_words"
    summary: ClassVar[str] = "two neighbouring words swapped, or not"
    source: ClassVar[str] = "generated; after bigram shift (Conneau et al. 2018)"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")

    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """Sentences with a label each."""
        return swap_examples(split, count, scale)
