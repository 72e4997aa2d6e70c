"""QNLI: does the sentence contain the answer to the question?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class QNLI(TableTask, PairClassification):
    """SQuAD as sentence pairs; tested on validation, because GLUE withholds the test labels."""

    name: ClassVar[str] = "qnli"
    summary: ClassVar[str] = "does a sentence answer a question"
    source: ClassVar[str] = "Rajpurkar et al. 2016; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.5
    """Balanced by construction, within a percent."""
    size: ClassVar[tuple[int, int]] = (104_743, 5_463)
    suites: ClassVar[tuple[str, ...]] = ("glue",)
    table: ClassVar[Table] = Table(
        "glue/qnli",
        {"question": "text", "sentence": "text_pair", "label": "label"},
        hub="nyu-mll/glue",
        config="qnli",
    )
