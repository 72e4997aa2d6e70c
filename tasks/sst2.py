"""SST-2: is a phrase from a film review positive or negative?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.classification import TextClassification
from bench.probing.datasets import Table, as_splits
from bench.probing.task import DataRoot, Splits

TABLE = Table("glue/sst2", columns=("sentence", "label"), hub="nyu-mll/glue", config="sst2")
TEXT = {"sentence": "text"}


class SST2(TextClassification):
    """The test split where its labels are given; GLUE withholds them (-1), then validation."""

    name: ClassVar[str] = "sst2"
    summary: ClassVar[str] = "sentiment of film review sentences (2 classes)"
    source: ClassVar[str] = "Socher et al. 2013; Wang et al. 2019 (GLUE)"
    chance: ClassVar[float] = 0.5

    def require(self, data: DataRoot) -> None:
        """Train and validation: every edition of the data set has both."""
        TABLE.require(data, "train", "validation")

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first of test and validation whose labels are given."""
        test = TABLE.load(data, "validation")
        if TABLE.has(data, "test"):
            labelled = TABLE.load(data, "test")
            test = test if (labelled["label"].fillna(-1) < 0).all() else labelled
        train = TABLE.load(data, "train")
        return as_splits(train.rename(columns=TEXT), test.rename(columns=TEXT), data)
