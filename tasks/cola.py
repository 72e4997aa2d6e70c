"""CoLA: is the sentence acceptable to a linguist?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class CoLA(TableTask, TextClassification):
    """Matthews correlation, because 69 % are acceptable; tested on validation."""

    name: ClassVar[str] = "cola"
    summary: ClassVar[str] = "acceptability of sentences from the linguistic literature"
    source: ClassVar[str] = "Warstadt et al. 2019; Wang et al. 2019 (GLUE)"
    metric: ClassVar[str] = "matthews"
    chance: ClassVar[float] = 0.0
    size: ClassVar[tuple[int, int]] = (8_551, 1_043)
    suites: ClassVar[tuple[str, ...]] = ("glue", "syntax")
    table: ClassVar[Table] = Table(
        "glue/cola",
        {"sentence": "text", "label": "label"},
        hub="nyu-mll/glue",
        config="cola",
    )
