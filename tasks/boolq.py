"""BoolQ: does the passage answer the question with yes or with no?

The test labels are withheld, so validation is the test split. An edition with validation only is
divided 80 to 20, by passage, so that no passage is in both parts.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.datasets import Table, as_splits
from bench.probing.data.tables import TableTask
from bench.probing.data.user_files import rows_to_test
from bench.probing.families.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits


class BoolQ(TableTask, PairClassification):
    """Yes or no; passages are longer than small encoders read and are cut."""

    name: ClassVar[str] = "boolq"
    summary: ClassVar[str] = "yes-or-no questions about a passage"
    source: ClassVar[str] = "Clark et al. 2019; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.622
    """The share of yes in validation."""
    size: ClassVar[tuple[int, int]] = (9_427, 3_270)
    table: ClassVar[Table] = Table(
        "super_glue/boolq",
        {"question": "text", "passage": "text_pair", "label": "label"},
        hub="aps/super_glue",
        config="boolq",
        tests=("validation",),
    )

    def require(self, data: DataRoot) -> None:
        """Check that validation is at hand: every edition of the data set has it."""
        self.table.require(data, "validation")

    def load(self, data: DataRoot) -> Splits:
        """Read train and validation, or divide validation."""
        if self.table.has(data, "train"):
            return super().load(data)
        rows = self.table.load(data, "validation")
        is_test = rows_to_test(list(rows["text_pair"]), [str(label) for label in rows["label"]])
        return as_splits(rows[~is_test], rows[is_test], data)
