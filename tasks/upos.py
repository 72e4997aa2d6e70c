"""UPOS: the part of speech of every word of the English Web Treebank."""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits
from bench.probing.tagging import Tagging
from bench.probing.task import DataRoot, Splits

TABLE = Table(
    "universal_dependencies/en_ewt",
    columns=("tokens", "upos"),
    hub="universal-dependencies/universal_dependencies",
    config="en_ewt",
)
WORDS = {"tokens": "words", "upos": "labels"}


class UniversalPartOfSpeech(Tagging):
    """17 tags; `_`, the hub's for a contraction that is spelt out after it, is not asked."""

    name: ClassVar[str] = "upos"
    summary: ClassVar[str] = "part of speech of every word of English web text (17 tags)"
    source: ClassVar[str] = "Silveira et al. 2014 (EWT); Nivre et al. 2020 (UD 2)"
    chance: ClassVar[float] = 0.164  # nouns, the most frequent tag of the test split

    def require(self, data: DataRoot) -> None:
        """Train and test."""
        TABLE.require(data, "train", "test")

    def load(self, data: DataRoot) -> Splits:
        """Read train and test."""
        train, test = (TABLE.load(data, split).rename(columns=WORDS) for split in ("train", "test"))
        for frame in (train, test):
            frame["labels"] = [
                [None if tag == "_" else tag for tag in tags] for tags in frame["labels"]
            ]
        return as_splits(train, test, data)
