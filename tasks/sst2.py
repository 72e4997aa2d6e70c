"""SST-2: is a phrase from a film review positive or negative?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.classification import TextClassification


class SST2(TableTask, TextClassification):
    """The test split where it has labels; GLUE withholds them (-1), then validation."""

    name: ClassVar[str] = "sst2"
    summary: ClassVar[str] = "sentiment of film review sentences (2 classes)"
    source: ClassVar[str] = "Socher et al. 2013; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.501
    """The larger class of the test split; 0.509 of validation is positive."""
    size: ClassVar[tuple[int, int]] = (67_349, 1_821)
    suites: ClassVar[tuple[str, ...]] = ("glue", "sentence")
    table: ClassVar[Table] = Table(
        "glue/sst2",
        {"sentence": "text", "label": "label"},
        hub="nyu-mll/glue",
        config="sst2",
    )
