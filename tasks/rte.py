"""RTE: does a sentence follow from a passage?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class RTE(TableTask, PairClassification):
    """Two classes; tested on validation, because GLUE withholds the test labels."""

    name: ClassVar[str] = "rte"
    summary: ClassVar[str] = "entailment or not, news and Wikipedia"
    source: ClassVar[str] = "Dagan et al. 2006 to Bentivogli et al. 2009; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.527
    """The share of entailment in validation."""
    size: ClassVar[tuple[int, int]] = (2_490, 277)
    suites: ClassVar[tuple[str, ...]] = ("glue",)
    table: ClassVar[Table] = Table(
        "glue/rte",
        {"sentence1": "text", "sentence2": "text_pair", "label": "label"},
        hub="nyu-mll/glue",
        config="rte",
    )
