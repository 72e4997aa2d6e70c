"""SUBJ: does a sentence judge a film, or tell its plot?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.classification import TextClassification
from bench.probing.datasets import Table
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "subj",
    {"text": "text", "label": "label"},
    hub="SetFit/subj",
    tests=("test",),
)


class SUBJ(TextClassification):
    """Balanced; a fixed split of the 10,000 sentences, which were published without one."""

    name: ClassVar[str] = "subj"
    summary: ClassVar[str] = "subjective or objective sentences"
    source: ClassVar[str] = "Pang and Lee 2004"
    chance: ClassVar[float] = 0.505
    """The test split."""
    size: ClassVar[tuple[int, int]] = (8_000, 1_000)
    suites: ClassVar[tuple[str, ...]] = ("sentence",)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and the first split to test on whose labels are given."""
        return TABLE.splits(data)
