"""AG News: is a report about the world, sports, business or science?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class AGNews(TableTask, TextClassification):
    """Balanced; 1,900 test texts of each class."""

    name: ClassVar[str] = "ag_news"
    summary: ClassVar[str] = "topic of news reports (4 classes)"
    source: ClassVar[str] = "Zhang et al. 2015"
    chance: ClassVar[float] = 0.25
    size: ClassVar[tuple[int, int]] = (120_000, 7_600)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)
    table: ClassVar[Table] = Table(
        "ag_news",
        {"text": "text", "label": "label"},
        hub="fancyzhx/ag_news",
        tests=("test",),
    )
