"""LAMBADA: which word ends the passage?

People guess the word from the whole passage and hardly ever from the last sentence alone. Passages
have 31 to 180 words; most are longer than the smallest encoders read at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.probing.data.datasets import Table
from bench.probing.data.tables import TableTask
from bench.probing.families.fill_in import FillIn

if TYPE_CHECKING:
    import pandas as pd


class LAMBADA(TableTask, FillIn):
    """The last word of each passage is hidden, with the punctuation attached to it."""

    name: ClassVar[str] = "lambada"
    summary: ClassVar[str] = "the last word of a passage from a novel"
    source: ClassVar[str] = "Paperno et al. 2016; Radford et al. 2019 (these texts)"
    chance: ClassVar[float] = 0.0
    """One of 3,197 different last words."""
    size: ClassVar[tuple[int, int]] = (0, 5_153)
    table: ClassVar[Table] = Table(
        "lambada_openai",
        {"text": "text"},
        hub="EleutherAI/lambada_openai",
        tests=("test",),
        has_train=False,
    )

    def reshape(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add the place of the last word of each passage."""
        texts = [str(text).rstrip() for text in frame["text"]]
        starts = [len(text) - len(text.split()[-1]) for text in texts]
        return frame.assign(text=texts, start=starts, end=[len(text) for text in texts])
