"""The token head: logits over the vocabulary, computed at predicted positions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.encoder import norm
from bench.pretraining.heads.linear_nats import linear_nats

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
        return F.linear(self.features(hidden), embedding, self.bias)

    def features(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """The states that the logits are a linear function of."""
        return self.norm(F.gelu(self.dense(hidden)))  # type: ignore[no-any-return]


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
    logits = head(_hidden(encoder, example), encoder.token_table)
    labels = example.labels.flatten()
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
    encoder: SharedEncoder, head: nn.Module, example: Example, reduction: Literal["sum", "none"]
) -> Tensor:
    hidden, labels = _hidden(encoder, example), example.labels.flatten()
    if hidden.is_cuda and type(head) is TokenHead and "forward" not in vars(head):
        nats = linear_nats(head.features(hidden), encoder.token_table, head.bias, labels)
        return nats.sum() if reduction == "sum" else nats
    logits = head(hidden, encoder.token_table)
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction=reduction)


def _hidden(encoder: SharedEncoder, example: Example) -> Float[Tensor, "N D"]:
    """The feature of every slot of an example."""
    return at_positions(encoder(example.inputs, example.attention), example).flatten(0, 1)
