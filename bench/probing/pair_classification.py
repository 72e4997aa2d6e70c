"""Pair classification: one label for two texts, each read by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise


class PairClassification(Task):
    """A task whose splits have the columns `text`, `text_pair` and `label`.

    The optional columns `span` and `span_pair`, character ranges [start, end), ask about one word
    of each text instead of the texts. The metric is `accuracy`, `f1` (of the label "1"; accuracy
    is shown beside it) or `matthews`.
    """

    family: ClassVar[str] = "pair classification"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns

        check_columns(self.name, splits, ("text", "text_pair", "label"))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Under construction."""
        raise NotImplementedError
