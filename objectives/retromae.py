"""Retrieval-oriented masked auto-encoder (RetroMAE): a masked loss, and a text from one vector.

    [CLS] the    [MASK] brown  fox    [MASK]     encoder: 30 % hidden, predicted as with `token`
      |
    vector of the row
      |          the    quick  brown  fox        decoder: every token is predicted, each from the
    the          .      quick  .      fox        vector and from a set of its own with half of the
    quick        the    .      brown  .          other tokens
    brown        .      quick  .      fox

The decoder is one layer and sees few tokens, so it needs the vector of [CLS] for the others. All
tokens contribute to its loss, and all sets of a row are read in one pass ("enhanced decoding").
The two losses are added; each is a mean over its own tokens.

A row has at most 64 sets. Positions at a distance of 64 share one, each without its own token. A
row is `max_length` positions of packed text, which may contain the end of one document and the
beginning of the next, so its vector describes a passage. Separators may be visible and are never
predicted.

Differs: tokens are hidden one by one; the release hides whole words, and draws up to 256 sets. Keys
have rotary positions, as in the encoder, whereas queries have learned ones too. The decoder's token
embeddings are the encoder's.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import Batch, Example, Loss
from bench.pretraining.objective import Cost, UnitObjective
from bench.pretraining.rates import Rate
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape

_SETS = 64


@settings
class RetroMae(UnitObjective):
    """Hide tokens, and predict every token from the vector of the row and a few others."""

    name: ClassVar[str] = "retromae"
    summary: ClassVar[str] = "masked language model; a decoder predicts all tokens from one vector"
    source: ClassVar[str] = "Xiao et al. 2022, sec. 3"
    other_predictions: ClassVar[str] = (
        "every ordinary token, by a decoder that sees the row's vector and a part of the others"
    )

    rate: Rate = 0.3
    """Share of a row's ordinary tokens that the encoder predicts; 0.15 to 0.3 in the paper."""
    decoder_rate: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Share of the other tokens that the decoder does not see; 0.5 to 0.7 in the paper."""

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        return batch.real

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        example = super().corrupt(batch, vocabulary, noise)
        mask = batch.attention_mask
        extras = {
            "text": batch.tokens,
            "real": batch.real,
            "attention_mask": torch.ones_like(batch.real) if mask is None else mask,
        }
        return dataclasses.replace(example, extras=extras)

    def visible_sets(
        self, attention_mask: Bool[Tensor, "B L"], noise: Noise
    ) -> Bool[Tensor, "B L L"]:
        """Whether the decoder sees the token at the last index when it predicts the one before."""
        rows, length = attention_mask.shape
        num_sets = min(length, _SETS)
        drawn = self.settled(noise).uniform("visible sets", (rows, num_sets, length))
        sets = (drawn >= self.decoder_rate) & attention_mask[:, None]
        at = torch.arange(length, device=sets.device)
        return sets[:, at % num_sets]

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        from bench.pretraining.heads import EnhancedDecoder

        return EnhancedDecoder(shape)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import enhanced_loss

        visible = self.visible_sets(example.extras["attention_mask"], noise)
        return enhanced_loss(encoder, head, example, visible)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """Cost of token head and decoder, exact for rows of `max_length` positions only."""
        width, length, vocab_size = shape.hidden_size, shape.max_length, shape.vocab_size
        matrices = 4 * width * width + 3 * width * shape.mlp_size
        head = width * (width + vocab_size)
        return Cost(
            flops_per_prediction=2.0 * head,
            flops_per_position=2.0 * (matrices + 2 * length * width + head),
            parameters=matrices + length * width + 4 * width + width * width + width + vocab_size,
        )
