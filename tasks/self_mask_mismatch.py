"""How far do [MASK]s move the features of a sentence of the corpus?

A diagnostic of the mismatch between training with [MASK] and use without: lower says that features
change less. An encoder that ignores its input changes least, so it ranks no objective.
"""

from __future__ import annotations

from typing import ClassVar

from bench.probing.data.self_supervised import Parts, SelfSupervised
from bench.probing.data.sentence_tasks import Maker, whole_sentences
from bench.probing.families.diagnostics import MaskMismatch


class SelfMaskMismatch(SelfSupervised, MaskMismatch):
    """15 % of the tokens are replaced by [MASK], and the same tokens are removed."""

    name: ClassVar[str] = "self_mask_mismatch"
    summary: ClassVar[str] = "diagnostic: change of features by [MASK] in 15 % of held-out text"
    source: ClassVar[str] = "made from the corpus; after Clark et al. 2020 (sec. 3.4)"
    chance: ClassVar[float | None] = None
    size: ClassVar[tuple[int, int]] = (0, 500)
    suites: ClassVar[tuple[str, ...]] = ("diagnostic",)
    columns: ClassVar[tuple[str, ...]] = ("text",)

    def maker(self, parts: Parts) -> Maker:
        """Take sentences as they are."""
        return whole_sentences
