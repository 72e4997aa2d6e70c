"""MRPC: do two sentences from the news mean the same?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class MRPC(TableTask, PairClassification):
    """F1 of paraphrase, as GLUE reports it; on the test split, which has labels."""

    name: ClassVar[str] = "mrpc"
    summary: ClassVar[str] = "paraphrase or not, news sentences"
    source: ClassVar[str] = "Dolan and Brockett 2005; Wang et al. 2019 (GLUE)"
    metric: ClassVar[str] = "f1"
    chance: ClassVar[float] = 0.799
    """Always predict paraphrase: 66.5 % of the test split are."""
    size: ClassVar[tuple[int, int]] = (3_668, 1_725)
    suites: ClassVar[tuple[str, ...]] = ("glue",)
    table: ClassVar[Table] = Table(
        "glue/mrpc",
        {"sentence1": "text", "sentence2": "text_pair", "label": "label"},
        hub="nyu-mll/glue",
        config="mrpc",
    )
