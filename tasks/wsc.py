"""WSC: does the pronoun refer to the noun phrase?

A few hundred sentences written so that word statistics say little: `The trophy does not fit into
the suitcase because it is too big.` Small encoders are expected at chance; it is here because they
are asked about it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from bench.errors import BenchError
from bench.probing.datasets import Table, as_splits
from bench.probing.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

PHRASES = ("span1_index", "span1_text", "span2_index", "span2_text")
TABLE = Table(
    "super_glue/wsc",
    {"text": "text", "label": "label", **{column: column for column in PHRASES}},
    hub="aps/super_glue",
    config="wsc",
)


class WinogradSchemas(PairClassification):
    """One text, read twice: the noun phrase in it and the pronoun. Tested on validation."""

    name: ClassVar[str] = "wsc"
    summary: ClassVar[str] = "what a pronoun refers to, where only sense can tell"
    source: ClassVar[str] = "Levesque et al. 2012; Wang et al. 2019 (SuperGLUE)"
    chance: ClassVar[float] = 0.615
    """It does not, in validation."""
    size: ClassVar[tuple[int, int]] = (554, 104)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and validation, with the characters of phrase and pronoun."""
        train, test = (_with_spans(frame) for frame in TABLE.pair(data))
        return as_splits(train, test, data)


def _with_spans(frame: pd.DataFrame) -> pd.DataFrame:
    """The published places count words; the published phrases differ in case or punctuation."""
    spans = [
        [_characters(text, int(at), str(phrase)) for text, at, phrase in rows]
        for rows in (
            zip(frame["text"], frame[index], frame[phrase], strict=True)
            for index, phrase in (PHRASES[:2], PHRASES[2:])
        )
    ]
    import pandas as pd

    rows = {"text": list(frame["text"]), "text_pair": list(frame["text"])}
    return pd.DataFrame(
        {**rows, "label": list(frame["label"]), "span": spans[0], "span_pair": spans[1]}
    )


def _characters(text: str, index: int, phrase: str) -> tuple[int, int]:
    words = list(re.finditer(r"\S+", text))
    if index >= len(words):
        raise BenchError(f"no word {index} in the text {text[:60]!r} of {len(words)} words")
    start = words[index].start()
    return start, min(start + len(phrase), len(text))
