"""WNUT-17: names in messages, the rare and the new among them."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits, tags_by_name
from bench.probing.tagging import Tagging
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "wnut_17",
    {"tokens": "words", "ner_tags": "labels"},
    hub="leondz/wnut_17",
    config="wnut_17",
    tests=("test",),
)
KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
TAGS = ("O", *(f"{side}-{kind}" for kind in KINDS for side in "BI"))


class EmergingEntities(Tagging):
    """Six kinds of names; few of the test split occur in train."""

    name: ClassVar[str] = "wnut17"
    summary: ClassVar[str] = "names in noisy user-generated text, as spans"
    source: ClassVar[str] = "Derczynski et al. 2017"
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """Tagging every word O finds no span."""
    size: ClassVar[tuple[int, int]] = (3_394, 1_287)
    suites: ClassVar[tuple[str, ...]] = ("tagging",)

    def require(self, data: DataRoot) -> None:
        """Train and test."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and test; the numbers of tags become their names."""
        train, test = TABLE.pair(data)
        for frame in (train, test):
            frame["labels"] = [tags_by_name(tags, TAGS) for tags in frame["labels"]]
        return as_splits(train, test, data)
