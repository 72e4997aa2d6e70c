"""LAMBADA: which word ends the passage?

People guess it with the whole passage before them and hardly ever with the last sentence alone.
Passages have 31 to 180 words, most of them more than the smallest encoders read at once.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.datasets import Table, as_splits
from bench.probing.fill_in import FillIn
from bench.probing.task import DataRoot, Splits

TABLE = Table("lambada_openai", {"text": "text"}, hub="EleutherAI/lambada_openai", tests=("test",))


class LAMBADA(FillIn):
    """The last word of each passage is hidden, with what punctuation clings to it."""

    name: ClassVar[str] = "lambada"
    summary: ClassVar[str] = "the last word of a passage from a novel"
    source: ClassVar[str] = "Paperno et al. 2016; Radford et al. 2019 (these texts)"
    chance: ClassVar[float] = 0.0
    """Of 3,197 different last words."""
    size: ClassVar[tuple[int, int]] = (0, 5_153)

    def require(self, data: DataRoot) -> None:
        """The only split there is."""
        TABLE.require(data, "test")

    def load(self, data: DataRoot) -> Splits:
        """Read the passages and find their last words."""
        texts = [str(text).rstrip() for text in TABLE.load(data, "test")["text"]]
        import pandas as pd

        test = pd.DataFrame(
            {
                "text": texts,
                "start": [len(text) - len(text.split()[-1]) for text in texts],
                "end": [len(text) for text in texts],
            }
        )
        return as_splits(test[:0], test, data)
