"""TREC: which kind of answer has a question: a person, a place, a number ...?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class TREC(TableTask, TextClassification):
    """The six coarse classes."""

    name: ClassVar[str] = "trec"
    summary: ClassVar[str] = "kind of answer to a question (6 classes)"
    source: ClassVar[str] = "Li and Roth 2002"
    chance: ClassVar[float] = 0.276
    """The share of descriptions: 138 of the 500 test questions (Li and Roth 2002)."""
    size: ClassVar[tuple[int, int]] = (5_452, 500)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "trec",
        {"text": "text", "coarse_label": "label"},
        hub="CogComp/trec",
        tests=("test",),
    )
