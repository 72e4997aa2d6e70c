"""Which of a hundred words is hidden in a sentence of the corpus?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, hide_words
from bench.probing.families.fill_in import FillIn


class SelfMissingWord(SelfSupervised, FillIn):
    """A hundred words outside the most frequent ones, each hidden at most five times."""

    name: ClassVar[str] = "self_missing_word"
    summary: ClassVar[str] = "a hidden word of a hundred, in held-out text"
    source: ClassVar[str] = "made from the corpus; after Taylor 1953 (cloze)"
    chance: ClassVar[float] = 0.01
    """One of a hundred."""
    size: ClassVar[tuple[int, int]] = (0, 500)
    columns: ClassVar[tuple[str, ...]] = ("text", "start", "end")

    def maker(self, parts: Parts) -> Maker:
        """Hide a word of each sentence."""
        return hide_words
