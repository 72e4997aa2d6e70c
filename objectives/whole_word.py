"""Whole-word masking: either all tokens of a word are hidden or none.

    un    ##believ ##able  news    of      today    words of 3 tokens and of 1; rate 0.5: quota 3
    un    ##believ ##able  [MASK]  [MASK]  [MASK]   `of`, drawn first, leaves room for 2 tokens:
                           news    of      today    the long word is skipped

Words are those of the corpus (`--words`): of the tokenizer's pre-tokenizer, or of another word
model in scripts without spaces. They are taken in random order until the row's quota of tokens is
met. A word that is longer than the whole quota is cut to its tokens.

Differs: the release also stops at the quota in candidate order, but its word boundaries come only
from WordPiece's `##`. `draw="word"` gives each word one draw of mask/random/keep, as in fairseq.
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
