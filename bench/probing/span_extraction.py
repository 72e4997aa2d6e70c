"""Span extraction: which words of a text answer a question?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.task import Reader, Score, Splits, Task

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise


class SpanExtraction(Task):
    """A task whose splits have the columns `question`, `context` and `answers`.

    `answers` is a list of {"text": ..., "start": ...}, all of them right, `start` the character of
    the context at which one begins. The readings are `f1` of the words and `exact_match`.
    """

    family: ClassVar[str] = "span extraction"
    metric: ClassVar[str] = "f1"

    def check(self, splits: Splits) -> None:
        """Columns, missing values, enough rows.

        Raises:
            BenchError: The examples are unusable; names the split and the row.
        """
        from bench.probing.checks import check_columns

        check_columns(self.name, splits, ("question", "context", "answers"))

    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Under construction."""
        raise NotImplementedError
