"""MNLI: does the second sentence follow from the first, contradict it, or neither?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table
from bench.probing.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "glue/mnli",
    {"premise": "text", "hypothesis": "text_pair", "label": "label"},
    hub="nyu-mll/glue",
    config="mnli",
    tests=("validation_matched", "validation"),
    also=("glue/mnli_slice",),
)


class MNLI(PairClassification):
    """The matched half of validation; a part of the set in a folder `glue/mnli_slice` will do."""

    name: ClassVar[str] = "mnli"
    summary: ClassVar[str] = "entailment, neutral or contradiction, ten genres"
    source: ClassVar[str] = "Williams et al. 2018; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.357
    """Entailment, in the slice; a third of each class within 3 %."""
    size: ClassVar[tuple[int, int]] = (392_702, 9_815)
    suites: ClassVar[tuple[str, ...]] = ("glue",)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first split to test on whose labels are given."""
        return TABLE.splits(data)
