"""Causal language modelling: each token is predicted from the tokens before it.

    [CLS]  the  cat  sat         every position predicts the token to its right
    the    cat  sat  (none)      attention covers only the positions to the left

Only the tokens to the right are hidden, so every position has a loss. At equal tokens this gives
nearly seven times the predictions of a masked objective at 15 %, and `causal` leads at very short
budgets.

Differs: separators and padding are read but never predicted, as in every objective here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.objective import Objective, Scoring
from bench.settings import settings

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class Causal(Objective):
    """Predict the next token."""

    name: ClassVar[str] = "causal"
    summary: ClassVar[str] = "next-token prediction with causal attention"
    source: ClassVar[str] = "Radford et al. 2018, sec. 3.1"
    scoring: ClassVar[Scoring | None] = "causal"
    attention: ClassVar[Literal["full", "causal"]] = "causal"

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        following = torch.where(batch.real, batch.tokens, IGNORED)[:, 1:]
        labels = torch.nn.functional.pad(following, (0, 1), value=IGNORED)
        return Example(batch.tokens, Attention("causal", batch.attention_mask), labels)
