"""Fill in: which word was hidden? Nothing is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise


class FillIn(Task):
    """A task whose test split has the columns `text`, `start` and `end`; `train` is not needed.

    `text[start:end]` is the hidden word, in place. The readings are `accuracy`, `accuracy_5` and
    `reciprocal_rank` of the hidden word among all words that the test split hides.
    """

    family: ClassVar[str] = "fill in"
    metric: ClassVar[str] = "accuracy"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns

        check_columns(self.name, splits, ("text", "start", "end"))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Under construction."""
        raise NotImplementedError
