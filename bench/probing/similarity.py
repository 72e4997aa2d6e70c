"""Similarity: how alike are two texts? A number for each pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise


class Similarity(Task):
    """A task whose splits have the columns `text`, `text_pair` and `score`, a number.

    The readings are `ridge`, fitted on what tells two frozen vectors apart, and `cosine`, for
    which nothing is fitted but layer and pooling are chosen.
    """

    family: ClassVar[str] = "similarity"
    metric: ClassVar[str] = "spearman"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns

        check_columns(self.name, splits, ("text", "text_pair", "score"))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Under construction."""
        raise NotImplementedError
