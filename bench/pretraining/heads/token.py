"""The token head: logits over the vocabulary, computed at predicted positions only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.encoder import norm

if TYPE_CHECKING:
    from jaxtyping import Float

    from bench.pretraining.encoder import SharedEncoder
    from bench.spec import EncoderShape


class TokenHead(nn.Module):
    """Predicts tokens: a dense layer, GELU, a norm, and the tied embedding (ModernBERT's head)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)
        self.norm = norm(shape.hidden_size)
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def forward(
        self, hidden: Float[Tensor, "*N D"], embedding: Float[Tensor, "V D"]
    ) -> Float[Tensor, "*N V"]:
        """Logits over the vocabulary; `embedding` is the encoder's token embedding."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embedding, self.bias)


def at_positions(hidden: Float[Tensor, "B L D"], example: Example) -> Float[Tensor, "B K D"]:
    """The features at the predicted positions only, because logits are the costly part."""
    if example.positions is None:
        return hidden
    index = example.positions[:, :, None].expand(-1, -1, hidden.shape[-1])
    return hidden.gather(1, index)


def token_loss(encoder: SharedEncoder, head: nn.Module, example: Example) -> Loss:
    """Sum of the labels' cross-entropy in nats (float32), and the number of labels."""
    total = _cross_entropy(encoder, head, example, "sum")
    return Loss(total, (example.labels != IGNORED).sum())


def token_nats(encoder: SharedEncoder, head: nn.Module, example: Example) -> Float[Tensor, "B K"]:
    """Cross-entropy of each label in nats, 0 without a label; for losses that weight rows."""
    return _cross_entropy(encoder, head, example, "none").view_as(example.labels)


def counted_token_loss(encoder: SharedEncoder, head: nn.Module, example: Example) -> Loss:
    """The same as `token_loss`, with counters per token type: `predictions` and `errors`."""
    logits, labels = _logits(encoder, head, example), example.labels.flatten()
    is_label = labels != IGNORED
    is_error = is_label & (logits.detach().argmax(-1) != labels)
    types, zeros = labels.clamp(min=0), labels.new_zeros(logits.shape[-1])
    counters = {  # an unused slot adds 0 to the first type, so that shapes are fixed
        "predictions": zeros.scatter_add(0, types, is_label.long()),
        "errors": zeros.scatter_add(0, types, is_error.long()),
    }
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    return Loss(total, is_label.sum(), counters=counters)


def _cross_entropy(
    encoder: SharedEncoder, head: nn.Module, example: Example, reduction: str
) -> Tensor:
    logits = _logits(encoder, head, example)
    return F.cross_entropy(
        logits.float(), example.labels.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def _logits(encoder: SharedEncoder, head: nn.Module, example: Example) -> Float[Tensor, "N V"]:
    """The logits of every slot of an example."""
    hidden = at_positions(encoder(example.inputs, example.attention), example)
    logits: Tensor = head(hidden.flatten(0, 1), encoder.token_table)
    return logits
