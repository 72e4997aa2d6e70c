"""Which of a hundred words was hidden in a sentence of the corpus?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import fill_in_questions
from bench.probing.families.fill_in import FillIn
from bench.probing.task import DataRoot, Splits


class SelfMissingWord(FillIn):
    """A hundred words that are not among the most frequent, each hidden five times at most."""

    name: ClassVar[str] = "self_missing_word"
    summary: ClassVar[str] = "a hidden word of a hundred, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Taylor 1953 (cloze)"
    chance: ClassVar[float] = 0.01
    """One of a hundred."""
    size: ClassVar[tuple[int, int]] = (0, 500)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        return fill_in_questions(data)
