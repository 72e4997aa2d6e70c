"""Does the second sentence follow the first one in the corpus?"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, next_or_not
from bench.probing.families.pair_classification import PairClassification


class SelfNextSentence(SelfSupervised, PairClassification):
    """The wrong ones follow sentences of other documents, so each sentence alone says nothing."""

    name: ClassVar[str] = "self_next_sentence"
    summary: ClassVar[str] = "does a sentence follow another, in held-out text"
    source: ClassVar[str] = (
        "made from the corpus; after Devlin et al. 2019 (next sentence prediction)"
    )
    columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")

    def maker(self, parts: Parts) -> Maker:
        """Pair sentences with their next sentence or with another one."""
        return next_or_not
