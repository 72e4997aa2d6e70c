"""The common part of objectives with a decoder: text in, text out (Raffel et al. 2020).

The encoder reads the corrupted text with full attention, a decoder writes the target, and only the
encoder is used afterwards. The default depth of the decoder is the encoder's depth. The decoder
then costs more than the encoder, and every table reports this cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.objective import Cost, DrawnObjective
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


@settings
class DecodedObjective(DrawnObjective):
    """Predicts text with a decoder. A subclass defines `corrupt` and the two sizes."""

    decoder_layers: Annotated[int, Field(ge=1)] | None = None
    """Depth of the decoder; the default is the encoder's depth."""

    def target_length(self, length: int) -> int:
        """Maximum number of target tokens for a row of `length` positions (a fixed shape)."""
        return length

    def memory_length(self, length: int) -> int:
        """Number of the encoder's vectors that the decoder attends to."""
        return length

    def num_sentinels(self, length: int) -> int:
        """Maximum number of sentinels for a row of `length` positions."""
        return 0

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        from bench.pretraining.heads import Decoder

        length = shape.max_length
        layers = self.decoder_layers or shape.num_layers
        return Decoder(shape, layers, self.target_length(length), self.num_sentinels(length))

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import Decoder, decoder_loss

        assert isinstance(head, Decoder)
        return decoder_loss(encoder, head, example)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """Cost of the decoder, exact for rows of `max_length` positions only."""
        width, length = shape.hidden_size, shape.max_length
        target, sentinels = self.target_length(length), self.num_sentinels(length)
        memory = self.memory_length(length)
        layers = self.decoder_layers or shape.num_layers
        matrices = 6 * width * width + 3 * width * shape.mlp_size  # per target token
        attention = 2 * width * (target + memory)
        table = shape.vocab_size + sentinels
        return Cost(
            flops_per_prediction=2.0 * (layers * (matrices + attention) + width * table),
            flops_per_position=2.0 * layers * 2 * width * width * memory / length,  # keys, values
            parameters=layers * (matrices + 2 * width * width + 3 * width)
            + 2 * width
            + sentinels * width
            + table,
        )


def shift_right(target: Int[Tensor, "B T"], start_id: int, padding: int) -> Int[Tensor, "B T"]:
    """The token before each target token, which is the input of the decoder."""
    before = torch.nn.functional.pad(target[:, :-1], (1, 0), value=start_id)
    return before.masked_fill(before == IGNORED, padding)
