"""QQP: do two questions from Quora mean the same?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class QQP(TableTask, PairClassification):
    """F1 of duplicates, as GLUE reports it; on validation: GLUE withholds the test labels."""

    name: ClassVar[str] = "qqp"
    summary: ClassVar[str] = "duplicate questions"
    source: ClassVar[str] = "Iyer et al. 2017; Wang et al. 2019 (GLUE)"
    metric: ClassVar[str] = "f1"
    chance: ClassVar[float] = 0.54
    """Always predict duplicate: 37 % are (Wang et al. 2019)."""
    size: ClassVar[tuple[int, int]] = (363_846, 40_430)
    suites: ClassVar[tuple[str, ...]] = ("glue",)
    table: ClassVar[Table] = Table(
        "glue/qqp",
        {"question1": "text", "question2": "text_pair", "label": "label"},
        hub="nyu-mll/glue",
        config="qqp",
    )
