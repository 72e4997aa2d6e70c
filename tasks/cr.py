"""CR: is a sentence from a customer review positive or negative?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class CustomerReviews(TableTask, TextClassification):
    """A fixed split of the 3,765 sentences, which were published without one."""

    name: ClassVar[str] = "cr"
    summary: ClassVar[str] = "sentiment of product review sentences"
    source: ClassVar[str] = "Hu and Liu 2004"
    chance: ClassVar[float] = 0.645
    """The share of positive sentences in the test split."""
    size: ClassVar[tuple[int, int]] = (3_012, 377)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "cr",
        {"text": "text", "label": "label"},
        hub="SetFit/CR",
        tests=("test",),
    )
