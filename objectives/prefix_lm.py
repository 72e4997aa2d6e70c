"""Prefix language modelling: a row's beginning is read whole, the rest is predicted from its left.

    [CLS]  the  cat | sat  down  here      split drawn at 2 of 5 tokens: 2 are the prefix
    (no)   (no) sat   down here  (no)      every position from the last of the prefix on predicts

The split is uniform over 1 .. n - 1, n the ordinary tokens of the row. A query sees a key inside
the prefix or to its left, so the prefix is read in both directions and the rest is causal: half of
the tokens are predicted on average, and one pass teaches both kinds of reading. Sentences are
scored by the chain rule under causal attention, the case of an empty prefix.

Differs: T5 and UniLM split documents; rows here are packed, so there is one split a row, and
separators are read but never predicted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.objective import DrawnObjective, Scoring
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class PrefixLm(DrawnObjective):
    """Predict what follows a prefix."""

    name: ClassVar[str] = "prefix_lm"
    summary: ClassVar[str] = "next-token prediction after a prefix that is read in both directions"
    source: ClassVar[str] = "Raffel et al. 2020, sec. 3.2.2; Dong et al. 2019"
    scoring: ClassVar[Scoring | None] = "causal"

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        kept = self.split(batch, self.settled(noise))[:, None]
        is_target = batch.real & (batch.real.long().cumsum(1) > kept)
        wanted = torch.where(is_target, batch.tokens, IGNORED)[:, 1:]
        labels = torch.nn.functional.pad(wanted, (0, 1), value=IGNORED)
        # What stands before the first target is the prefix; all of the row where there is none.
        prefix = (is_target.long().cumsum(1) == 0).sum(1)
        return Example(batch.tokens, Attention("prefix", batch.attention_mask, prefix), labels)

    def split(self, batch: Batch, noise: Noise) -> Int[Tensor, " B"]:
        """How many ordinary tokens of each row are its prefix: at least one."""
        uniform = noise.uniform("split", (len(batch.tokens), 1))[:, 0]
        return 1 + (uniform * (batch.real.sum(1) - 1)).floor().long().clamp(min=0)
