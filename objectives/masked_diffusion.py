"""Masked diffusion: each row has its own masking rate, drawn between 0 and 1.

    the    [MASK] brown  [MASK]  jumps     rate drawn 0.3, the chance of each token to be hidden
           quick         fox               predicted with weight 1 / 0.3
    [MASK] [MASK] [MASK] fox     [MASK]    rate drawn 0.9
    the    quick  brown          jumps     predicted with weight 1 / 0.9

The rate is uniform over (0, 1) and every hidden token is shown as [MASK]. The loss of a row is
weighted by 1 / rate and divided by all tokens, predicted or not. Its expectation is then an upper
bound of the text's negative log-likelihood per token, and the model is a generative one. Half of
the tokens are predicted on average. The objective is `token` at 100/0/0 with a random rate and the
matching weights.

Differs: the rates of rows are independent; the release of MDLM spreads them evenly over a batch for
less variance, which would make a row depend on the other rows of its batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.objective import DrawnObjective, Scoring
from bench.settings import settings

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise


@settings
class MaskedDiffusion(DrawnObjective):
    """Hide tokens at a random rate per row."""

    name: ClassVar[str] = "masked_diffusion"
    summary: ClassVar[str] = "masked language model at rates from 0 to 1, weighted by 1 / rate"
    source: ClassVar[str] = "Sahoo et al. 2024, sec. 3; Nie et al. 2025, sec. 2.1"
    scoring: ClassVar[Scoring | None] = "masked"

    lowest_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    """Lower bound of the uniform rates; 1 / lowest_rate is the largest weight (Nie et al.)."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        noise = self.settled(noise)
        rows, length = batch.tokens.shape
        drawn = noise.uniform("rate", (rows, 1))
        rates = self.lowest_rate + (1 - self.lowest_rate) * drawn
        is_hidden = (noise.uniform("units", (rows, length)) < rates) & batch.real
        return Example(
            torch.where(is_hidden, vocabulary.mask_id, batch.tokens),
            Attention("full", batch.attention_mask),
            torch.where(is_hidden, batch.tokens, IGNORED),
            extras={"weights": 1 / rates[:, 0], "tokens": batch.real.sum(1)},
        )

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import token_nats

        nats = token_nats(encoder, head, example).sum(1)
        predictions = (example.labels != IGNORED).sum()
        tokens = example.extras["tokens"].sum().float()
        unweighted = {"unweighted": (nats.sum(), predictions)}
        return Loss((nats * example.extras["weights"]).sum(), predictions, tokens, unweighted)
