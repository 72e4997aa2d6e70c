"""CoNLL-2000: where do the phrases of a sentence begin and end, and of which kind are they?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits, tags_by_name
from bench.probing.tagging import Tagging
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "conll2000",
    {"tokens": "words", "chunk_tags": "labels"},
    hub="eriktks/conll2000",
    config="conll2000",
    tests=("test",),
)
PHRASES = ("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")
TAGS = ("O", *(f"{side}-{phrase}" for phrase in PHRASES for side in "BI"))


class Chunking(Tagging):
    """Eleven kinds of phrases; a span counts when its ends and its kind are right."""

    name: ClassVar[str] = "chunking"
    summary: ClassVar[str] = "phrases of English news sentences, as spans"
    source: ClassVar[str] = "Tjong Kim Sang and Buchholz 2000"
    metric: ClassVar[str] = "span_f1"
    chance: ClassVar[float] = 0.0
    """Tagging every word O finds no span."""
    size: ClassVar[tuple[int, int]] = (8_936, 2_012)
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
