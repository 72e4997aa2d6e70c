"""SQuAD: which words of the passage answer the question?

The test labels of SQuAD 1.1 were never published; validation is the test where there is no other.
Passages are longer than small encoders read at once, so the family reads them in windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.probing.datasets import Table, as_splits
from bench.probing.span_extraction import SpanExtraction
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd

TABLE = Table(
    "squad",
    {"question": "question", "context": "context", "answers": "answers"},
    hub="rajpurkar/squad",
    config="plain_text",
)


class SQuAD(SpanExtraction):
    """SQuAD 1.1: every question has an answer; any of the given ones is right."""

    name: ClassVar[str] = "squad"
    summary: ClassVar[str] = "answers as words of a Wikipedia passage"
    source: ClassVar[str] = "Rajpurkar et al. 2016"
    chance: ClassVar[float] = 0.05
    """A scorer of random features: 0.054 over 200 questions, 0.011 either way."""
    size: ClassVar[tuple[int, int]] = (87_599, 10_570)

    def require(self, data: DataRoot) -> None:
        """Train, and a split to test on."""
        TABLE.require(data)

    def load(self, data: DataRoot) -> Splits:
        """Read train and test, or validation."""
        test = next((split for split in TABLE.tests if _is_there(data, split)), TABLE.tests[-1])
        train, asked = (_with_answers(TABLE.load(data, split)) for split in ("train", test))
        return as_splits(train, asked, data)


def _is_there(data: DataRoot, split: str) -> bool:
    """The hub has no test split of it."""
    return data.folder is not None and TABLE.has(data, split)


def _with_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """From {"text": [...], "answer_start": [...]} to a list of {"text": ..., "start": ...}."""
    import pandas as pd

    answers = [
        [
            {"text": str(text), "start": int(start)}
            for text, start in zip(row["text"], row["answer_start"], strict=True)
        ]
        for row in frame["answers"]
    ]
    rows = {column: list(frame[column]) for column in ("question", "context")}
    return pd.DataFrame({**rows, "answers": answers})
