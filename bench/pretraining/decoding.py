"""What objectives with a decoder share: text in, other text out (Raffel et al. 2020).

The encoder reads the corrupted text under full attention, a decoder writes the target, and only
the encoder is kept. The decoder is as deep as the encoder unless told otherwise: it then costs
more than the encoder does, and the table shows what.
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
    """Asks for text from a decoder of its own; a subclass writes `corrupt` and the two sizes."""

    decoder_layers: Annotated[int, Field(ge=1)] | None = None
    """Depth of the decoder; left alone, the encoder's."""

    def target_length(self, length: int) -> int:
        """The most tokens asked for after a row of `length` positions: a fixed shape."""
        return length

    def num_sentinels(self, length: int) -> int:
        """The most sentinels a row of `length` positions needs."""
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
        """Exact for rows of `max_length` positions: what the decoder attends to has no other."""
        width, length = shape.hidden_size, shape.max_length
        target, sentinels = self.target_length(length), self.num_sentinels(length)
        layers = self.decoder_layers or shape.num_layers
        matrices = 6 * width * width + 3 * width * shape.mlp_size  # of a written token
        attention = 2 * width * (target + length)
        table = shape.vocab_size + sentinels
        return Cost(
            flops_per_prediction=2.0 * (layers * (matrices + attention) + width * table),
            flops_per_position=2.0 * layers * 2 * width * width,  # keys and values
            parameters=layers * (matrices + 2 * width * width + 3 * width)
            + 2 * width
            + sentinels * width
            + table,
        )


def shift_right(target: Int[Tensor, "B T"], start_id: int, padding: int) -> Int[Tensor, "B T"]:
    """What the decoder has before it when it is asked for each token of the target."""
    before = torch.nn.functional.pad(target[:, :-1], (1, 0), value=start_id)
    return before.masked_fill(before == IGNORED, padding)
