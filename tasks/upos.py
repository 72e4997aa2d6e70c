"""UPOS: the part of speech of every word of the English Web Treebank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.tagging import Tagging

if TYPE_CHECKING:
    import pandas as pd


class UniversalPartOfSpeech(TableTask, Tagging):
    """17 tags; `_`, the hub's tag of a contraction whose parts follow it, is not a label."""

    name: ClassVar[str] = "upos"
    summary: ClassVar[str] = "part of speech of every word of English web text (17 tags)"
    source: ClassVar[str] = "Silveira et al. 2014 (EWT); Nivre et al. 2020 (UD 2)"
    chance: ClassVar[float] = 0.164
    """The share of nouns, the most frequent tag of the test split."""
    size: ClassVar[tuple[int, int]] = (12_544, 2_077)
    suites: ClassVar[tuple[str, ...]] = ("tagging", "syntax")
    table: ClassVar[Table] = Table(
        "universal_dependencies/en_ewt",
        {"tokens": "words", "upos": "labels"},
        hub="universal-dependencies/universal_dependencies",
        config="en_ewt",
        tests=("test",),
    )

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Replace the tag of contractions by None."""
        labels: Any = [[None if tag == "_" else tag for tag in tags] for tags in frame["labels"]]
        return frame.assign(labels=labels)
