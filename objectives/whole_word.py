"""Whole-word masking: a word is hidden with all its tokens or not at all.

    un    ##believ ##able  news    today      words of 3, 1 and 1 tokens; rate 0.4: quota 2
    un    ##believ ##able  [MASK]  [MASK]     drawn first, the long word would overshoot: skipped
                           news    today

A word is what the tokenizer's pre-tokenizer cuts, so byte-level BPE, WordPiece and scripts without
spaces work alike. Words are taken in random order until the row's quota of tokens is met.

Differs: the release stops at the quota by candidate order as here, but its word boundaries are
WordPiece's `##` only. `draw="word"` gives each word one draw of mask/random/keep, as in fairseq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.pretraining.objective import UnitObjective
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from bench.pretraining.batch import Batch


@settings
class WholeWord(UnitObjective):
    """Hide whole words."""

    name: ClassVar[str] = "whole_word"
    summary: ClassVar[str] = "masked language model over whole words"
    source: ClassVar[str] = "Devlin et al. 2019, whole-word release of May 2019"

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        return batch.word_start
