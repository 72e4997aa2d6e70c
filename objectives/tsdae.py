"""Denoising from one vector (TSDAE): a decoder writes the whole text from the vector of the row.

    the   quick  brown  fox    jumps  over    original
    [CLS]        brown         over           60 % of the tokens are deleted; input of the encoder
      |
    vector of the row                         all that the decoder attends to
      |
    the   quick  brown  fox    jumps  over    output of the decoder, token by token

The decoder has no other access to the text, so the encoder learns to put the text into the vector,
which is that of [CLS]; with `pooling=mean` it is the mean over the remaining tokens. Attention to a
single key has the weight 1, so the queries of the attention to the vector have no effect.

The tokens of a target are also conditioned on the tokens before them, and a decoder learns these
local statistics first. After 1M tokens of Simple English Wikipedia at size `tiny` the loss is 4.95
nats, and 4.98 with the vector of another row (4.92 and 4.98 with `pooling=mean`): the encoder has
learned little then. Expect it to need more text, or continue a checkpoint.

A row is `max_length` positions of packed text. It begins anywhere in a document and may contain the
end of one and the beginning of the next, so its vector describes a passage. Separators are never
deleted and never predicted.

Differs: the paper encodes single sentences and continues BERT; here the unit is the row, from
nothing or from a checkpoint. The decoder has one layer and shares the token embeddings only; in the
paper it is as deep as the encoder and shares all parameters. The number of deleted tokens is exact
in every row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.corruption.drafts import Draft, choose_exactly, nearest
from bench.pretraining.decoding import DecodedObjective, shift_right
from bench.pretraining.rates import Rate, rate_at
from bench.settings import settings

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise


@settings
class Tsdae(DecodedObjective):
    """Write a text from the vector of its remains."""

    name: ClassVar[str] = "tsdae"
    summary: ClassVar[str] = "tokens are deleted; a decoder writes the text from one vector"
    source: ClassVar[str] = "Wang et al. 2021, sec. 3"

    decoder_layers: Annotated[int, Field(ge=1)] | None = 1
    """Depth of the decoder; null: the encoder's depth."""
    delete_rate: Rate = 0.6
    """Share of a row's ordinary tokens that are deleted; at least one remains."""
    pooling: Literal["first", "mean"] = "first"
    """The vector of a row: `first`, the feature of [CLS]; `mean`, the mean over its tokens."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        num_tokens = batch.real.sum(1)
        num_deleted = nearest(num_tokens, rate_at(self.delete_rate, batch.progress))
        num_deleted = torch.minimum(num_deleted, num_tokens - 1)
        deleted = choose_exactly(batch.real, num_deleted, self.settled(noise), "deleted")
        draft = Draft.of(batch).drop(deleted, vocabulary.pad_id)
        return Example(
            draft.tokens,
            Attention("full", draft.attention_mask),
            torch.where(batch.real, batch.tokens, IGNORED),
            origins=draft.origins,
            extras={"written": shift_right(batch.tokens, vocabulary.sep_id, vocabulary.pad_id)},
        )

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import Decoder, decoder_loss

        assert isinstance(head, Decoder)
        return decoder_loss(encoder, head, example, self.pooling)

    def memory_length(self, length: int) -> int:
        return 1
