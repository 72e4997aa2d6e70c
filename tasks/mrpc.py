"""MRPC: do two sentences from the news say the same?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table
from bench.probing.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "glue/mrpc",
    {"sentence1": "text", "sentence2": "text_pair", "label": "label"},
    hub="nyu-mll/glue",
    config="mrpc",
)


class MRPC(PairClassification):
    """F1 of paraphrase, as GLUE reports it; the test split, whose labels are given."""

    name: ClassVar[str] = "mrpc"
    summary: ClassVar[str] = "paraphrase or not, news sentences"
    source: ClassVar[str] = "Dolan and Brockett 2005; Wang et al. 2019 (GLUE)"
    metric: ClassVar[str] = "f1"
    chance: ClassVar[float] = 0.799
    """Always paraphrase: 66.5 % of the test split are."""
    size: ClassVar[tuple[int, int]] = (3_668, 1_725)
    suites: ClassVar[tuple[str, ...]] = ("glue",)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first split to test on whose labels are given."""
        return TABLE.splits(data)
