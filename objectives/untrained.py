"""The untrained encoder: an ordinary objective of zero steps, and a baseline in every table.

    the  cat  sat        nothing is hidden, nothing is predicted
    the  cat  sat        the encoder keeps its initial weights

The score of a random encoder is the score that a probe reaches from word identity alone. An
objective has taught the encoder something only where its score is higher. The token head is
untrained too, so sentence pairs are scored at chance level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.objective import Objective, Scoring
from bench.settings import settings

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class Untrained(Objective):
    """Learn nothing."""

    name: ClassVar[str] = "untrained"
    summary: ClassVar[str] = "baseline: the encoder with its initial weights, zero steps"
    source: ClassVar[str] = "baseline (cf. Zhang and Bowman 2018)"
    scoring: ClassVar[Scoring | None] = "masked"
    trains: ClassVar[bool] = False

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        labels = torch.full_like(batch.tokens, IGNORED)
        return Example(batch.tokens, Attention("full", batch.attention_mask), labels)
