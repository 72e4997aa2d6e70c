"""SQuAD: which words of the passage answer the question?

The test labels of SQuAD 1.1 were never published; without another test split, validation is the
test split. Passages are longer than small encoders read at once, so the family reads them in
windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.data.datasets import Table, as_splits
from bench.probing.data.tables import TableTask
from bench.probing.families.span_extraction import SpanExtraction
from bench.probing.task import DataRoot, Splits

if TYPE_CHECKING:
    import pandas as pd


class SQuAD(TableTask, SpanExtraction):
    """SQuAD 1.1: every question has an answer; each of the given answers is right."""

    name: ClassVar[str] = "squad"
    summary: ClassVar[str] = "answers as words of a Wikipedia passage"
    source: ClassVar[str] = "Rajpurkar et al. 2016"
    chance: ClassVar[float] = 0.05
    """A scorer of random features: 0.054 over 200 questions, 0.011 either way."""
    size: ClassVar[tuple[int, int]] = (87_599, 10_570)
    table: ClassVar[Table] = Table(
        "squad",
        {"question": "question", "context": "context", "answers": "answers"},
        hub="rajpurkar/squad",
        config="plain_text",
    )

    def load(self, data: DataRoot) -> Splits:
        """Read train and test, or validation: the hub has no test split."""
        if data.folder is not None:
            return super().load(data)
        train, test = (self.reshape(self.table.load(data, s)) for s in ("train", "validation"))
        return as_splits(train, test, data)

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """{"text": [...], "answer_start": [...]} becomes a list of {"text": ..., "start": ...}."""
        answers: Any = [
            [
                {"text": str(text), "start": int(start)}
                for text, start in zip(row["text"], row["answer_start"], strict=True)
            ]
            for row in frame["answers"]
        ]
        return frame.assign(answers=answers)
