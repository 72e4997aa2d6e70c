"""CoNLL-2003: persons, organisations, places and other names in news."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits, tags_by_name
from bench.probing.tagging import Tagging
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "conll2003",
    {"tokens": "words", "ner_tags": "labels"},
    hub="eriktks/conll2003",
    config="conll2003",
    tests=("test",),
)
KINDS = ("PER", "ORG", "LOC", "MISC")
TAGS = ("O", *(f"{side}-{kind}" for kind in KINDS for side in "BI"))


class CoNLL2003(Tagging):
    """Four kinds of names; a span counts when its ends and its kind are right."""

    name: ClassVar[str] = "conll2003"
    summary: ClassVar[str] = "names in English news, as spans"
    source: ClassVar[str] = "Tjong Kim Sang and De Meulder 2003"
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """Tagging every word O finds no span."""
    size: ClassVar[tuple[int, int]] = (14_041, 3_453)
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
