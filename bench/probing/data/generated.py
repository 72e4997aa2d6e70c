"""Tasks whose examples come from the generator of the corpus `micro`.

Each task has as many examples at `tiny` as its `size` says, and two to four times as many at the
larger sizes. No test example is in the corpus or in the training split.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from bench.corpus.microworld import SCALES, Split
from bench.corpus.microworld.examples import word_examples
from bench.probing.data.datasets import as_splits
from bench.probing.families.tagging import Tagging
from bench.probing.task import DataRoot, Splits, Task


class GeneratedTask(Task):
    """Generates the examples of its family; named before the family."""

    columns: ClassVar[tuple[str, ...]]
    """The family's columns, in the order of a generated row."""
    chance: ClassVar[float | None] = 0.5
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    """The numbers of train and test examples at `tiny`; 0 for train where nothing is fitted."""
    suites: ClassVar[tuple[str, ...]] = ("micro",)

    @abstractmethod
    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """The `count * scale` rows of a split at a scale of the generator."""

    def load(self, data: DataRoot) -> Splits:
        """Generate both splits."""
        import pandas as pd

        scale, columns = SCALES.get(data.size, 1), list(self.columns)
        num_train, num_test = self.size
        test = pd.DataFrame(self.rows("test", num_test, scale), columns=columns)
        train = test[:0]
        if num_train:
            train = pd.DataFrame(self.rows("train", num_train, scale), columns=columns)
        return as_splits(train, test, data)


class GeneratedTagging(GeneratedTask, Tagging):
    """One labelled word per sentence: the sense of a noun, or the class of a word."""

    metric: ClassVar[str] = "accuracy"
    columns: ClassVar[tuple[str, ...]] = ("words", "labels")
    kind: ClassVar[str]
    """The kind of sentence, as the generator names it."""

    def rows(self, split: Split, count: int, scale: int) -> Sequence[tuple[Any, ...]]:
        """Sentences with a label for one word."""
        return word_examples(self.kind, split, count, scale)
