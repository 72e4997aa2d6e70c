"""Retrieval: which documents answer a query? Nothing is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise


class Retrieval(Task):
    """A task whose documents are the `train` frame and whose queries are the `test` frame.

    Documents have the columns `id` and `text`; queries `text` and `relevant`, a list of ids of
    documents, or a mapping from ids to gains above zero.
    """

    family: ClassVar[str] = "retrieval"
    metric: ClassVar[str] = "ndcg@10"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns

        check_columns(self.name, splits, ("text",))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Under construction."""
        raise NotImplementedError
