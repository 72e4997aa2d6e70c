"""MNLI: does the second sentence follow from the first, contradict it, or neither?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.pair_classification import PairClassification


class MNLI(TableTask, PairClassification):
    """The matched half of validation; a slice of the set in `glue/mnli_slice` also works."""

    name: ClassVar[str] = "mnli"
    summary: ClassVar[str] = "entailment, neutral or contradiction, ten genres"
    source: ClassVar[str] = "Williams et al. 2018; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.357
    """The share of entailment in the slice; each class has a third within 3 %."""
    size: ClassVar[tuple[int, int]] = (392_702, 9_815)
    suites: ClassVar[tuple[str, ...]] = ("glue",)
    table: ClassVar[Table] = Table(
        "glue/mnli",
        {"premise": "text", "hypothesis": "text_pair", "label": "label"},
        hub="nyu-mll/glue",
        config="mnli",
        tests=("validation_matched", "validation"),
        aliases=("glue/mnli_slice",),
    )
