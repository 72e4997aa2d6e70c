"""Masked language modelling that predicts every token, hidden or not (an ablation of ELECTRA).

    the   quick  brown  fox   jumps        original; 2 of 5 tokens are chosen at rate 0.4
    the   [MASK] brown  fox   lamp         input, as in `token`: 80/10/10
    the   quick  brown  fox   jumps        labels: all tokens

This ablation separates the effect of the corruption from the effect of the number of predictions.
The corruption is that of `token`, but every position has a loss. At most positions the input
already shows the correct token and the encoder only has to copy it. A tenth of the chosen tokens
are wrong, however, and nothing marks them.

Differs: the paper's variant fills the hidden positions with samples of a generator and adds an
explicit copy mechanism. Here the corruption is that of `token` and the head is the ordinary token
head, so that only the number of predictions differs from `token`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import torch

from bench.pretraining.batch import IGNORED, Batch, Example
from bench.settings import settings

from .token import Token

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class AllTokensMlm(Token):
    """Hide single tokens and predict all tokens."""

    name: ClassVar[str] = "all_tokens_mlm"
    summary: ClassVar[str] = "ablation: token masking that predicts every token, hidden or not"
    source: ClassVar[str] = "Clark et al. 2020, sec. 3.4"

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        example = super().corrupt(batch, vocabulary, noise)
        labels = torch.where(batch.real, batch.tokens, IGNORED)
        return dataclasses.replace(example, labels=labels, positions=None)
