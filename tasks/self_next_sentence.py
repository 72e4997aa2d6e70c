"""Does the second sentence follow the first one in the corpus?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import questions
from bench.probing.data.sentence_tasks import next_or_not
from bench.probing.families.pair_classification import PairClassification
from bench.probing.task import DataRoot, Splits


class SelfNextSentence(PairClassification):
    """The wrong ones follow sentences of other documents, so each by itself says nothing."""

    name: ClassVar[str] = "self_next_sentence"
    summary: ClassVar[str] = "does a sentence follow another, in held-out text"
    source: ClassVar[str] = (
        "made from the corpus; after Devlin et al. 2019 (next sentence prediction)"
    )
    chance: ClassVar[float] = 0.5
    """Balanced."""
    size: ClassVar[tuple[int, int]] = (1_500, 800)
    suites: ClassVar[tuple[str, ...]] = ("self",)

    def load(self, data: DataRoot) -> Splits:
        """Make them from the corpus' held-out part."""
        return questions(next_or_not, ("text", "text_pair", "label"), data)
