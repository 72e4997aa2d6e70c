"""Prefix language modelling: the prefix of a row is read in both directions, the rest is predicted.

    [CLS]  the  cat | sat  down  here      split drawn at 2 of 5 tokens: 2 are the prefix
    (no)   (no) sat   down here  (no)      every position from the end of the prefix on predicts

The split is uniform over 1 .. n - 1, where n is the number of ordinary tokens of the row. A query
attends to the keys inside the prefix and to those on its left, so attention is bidirectional in the
prefix and causal after it. Half of the tokens are predicted on average, and one pass trains the
encoder for both kinds of attention. Sentences are scored by the chain rule under causal attention,
which is the case of an empty prefix.

Differs: T5 and UniLM split documents. Rows here are packed, so each row has one split, and
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
    """Predict the continuation of a prefix."""

    name: ClassVar[str] = "prefix_lm"
    summary: ClassVar[str] = "next-token prediction after a prefix that is read in both directions"
    source: ClassVar[str] = "Raffel et al. 2020, sec. 3.2.2; Dong et al. 2019"
    scoring: ClassVar[Scoring | None] = "causal"

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        prefix_tokens = self.split(batch, self.settled(noise))[:, None]
        is_target = batch.real & (batch.real.long().cumsum(1) > prefix_tokens)
        targets = torch.where(is_target, batch.tokens, IGNORED)[:, 1:]
        labels = torch.nn.functional.pad(targets, (0, 1), value=IGNORED)
        # The prefix ends before the first target; without a target it is the whole row.
        prefix = (is_target.long().cumsum(1) == 0).sum(1)
        return Example(batch.tokens, Attention("prefix", batch.attention_mask, prefix), labels)

    def split(self, batch: Batch, noise: Noise) -> Int[Tensor, " B"]:
        """Number of ordinary tokens in the prefix of each row; at least one."""
        uniform = noise.uniform("split", (len(batch.tokens), 1))[:, 0]
        return 1 + (uniform * (batch.real.sum(1) - 1)).floor().long().clamp(min=0)
