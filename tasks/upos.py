"""UPOS: the part of speech of every word of the English Web Treebank."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits
from bench.probing.tagging import Tagging
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "universal_dependencies/en_ewt",
    {"tokens": "words", "upos": "labels"},
    hub="universal-dependencies/universal_dependencies",
    config="en_ewt",
    tests=("test",),
)


class UniversalPartOfSpeech(Tagging):
    """17 tags; `_`, the hub's for a contraction that is spelt out after it, is not asked."""

    name: ClassVar[str] = "upos"
    summary: ClassVar[str] = "part of speech of every word of English web text (17 tags)"
    source: ClassVar[str] = "Silveira et al. 2014 (EWT); Nivre et al. 2020 (UD 2)"
    chance: ClassVar[float] = 0.164
    """Nouns, the most frequent tag of the test split."""
    size: ClassVar[tuple[int, int]] = (12_544, 2_077)
    suites: ClassVar[tuple[str, ...]] = ("tagging", "syntax")

    def require(self, data: DataRoot) -> None:
        """Train and test."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and test."""
        train, test = TABLE.pair(data)
        for frame in (train, test):
            frame["labels"] = [
                [None if tag == "_" else tag for tag in tags] for tags in frame["labels"]
            ]
        return as_splits(train, test, data)
