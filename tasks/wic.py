"""WiC: does a word mean the same in two sentences?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.probing.datasets import Table, as_splits
from bench.probing.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("start1", "end1", "start2", "end2")
TABLE = Table(
    "super_glue/wic",
    {"sentence1": "text", "sentence2": "text_pair", "label": "label", **{w: w for w in WORDS}},
    hub="aps/super_glue",
    config="wic",
)


class WordInContext(PairClassification):
    """Balanced; the word is read in both sentences. Tested on validation: test is withheld."""

    name: ClassVar[str] = "wic"
    summary: ClassVar[str] = "one word in two sentences: the same sense or not"
    source: ClassVar[str] = "Pilehvar and Camacho-Collados 2019; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.5
    size: ClassVar[tuple[int, int]] = (5_428, 638)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and validation, with the word's characters in each sentence."""
        train, test = (_with_spans(frame) for frame in TABLE.pair(data))
        return as_splits(train, test, data)


def _with_spans(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    spans = [
        [(int(start), int(end)) for start, end in zip(frame[first], frame[last], strict=True)]
        for first, last in (WORDS[:2], WORDS[2:])
    ]
    rows = {column: list(frame[column]) for column in ("text", "text_pair", "label")}
    return pd.DataFrame({**rows, "span": spans[0], "span_pair": spans[1]})
