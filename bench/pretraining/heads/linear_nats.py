"""Cross-entropy of linear logits, a part of the logits at a time.

The logits of a large vocabulary are the largest tensor of a step: those of 64 rows of `base` take
1.9 GB in bfloat16 and in float32 together, and their gradient as much again. Here only a part of
them exists at once. The backward pass computes them again, which is one matrix product more, and
gradients of the table add up in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.pretraining.batch import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float, Int

CHUNK_LOGITS = 2**27
"""Logits that exist at once: 0.5 GB in float32."""


def linear_nats(
    features: Float[Tensor, "N D"],
    table: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"],
    labels: Int[Tensor, " N"],
    chunk_logits: int = CHUNK_LOGITS,
) -> Float[Tensor, " N"]:
    """The cross-entropy of each label in float32 nats, 0 where there is none.

    Args:
        features: What the logits are computed from.
        table: Weights of the logits: the token embedding.
        bias: Bias of the logits.
        labels: The token to predict, or `IGNORED`.
        chunk_logits: The number of logits that may exist at once.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    size = max(1, chunk_logits // len(table))
    nats: Tensor = _LinearNats.apply(features.to(dtype), table, bias, labels, size)  # type: ignore[no-untyped-call]
    return nats


class _LinearNats(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, features: Tensor, table: Tensor, bias: Tensor, labels: Tensor, size: int
    ) -> Tensor:
        normaliser = torch.empty(len(features), dtype=torch.float32, device=features.device)
        nats = torch.empty_like(normaliser)
        weight = table.to(features.dtype)
        for part in _parts(len(features), size):
            logits = _logits(features[part], weight, bias)
            normaliser[part] = logits.logsumexp(1)
            at = labels[part].clamp(min=0)[:, None]
            nats[part] = normaliser[part] - logits.gather(1, at)[:, 0]
        context.save_for_backward(features, table, bias, labels, normaliser)
        context.size = size
        return nats.masked_fill_(labels == IGNORED, 0.0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        features, table, bias, labels, normaliser = context.saved_tensors
        weight, own = table.to(features.dtype), torch.empty_like(features)
        of_table = torch.zeros_like(table, dtype=torch.float32)
        of_bias = torch.zeros_like(bias, dtype=torch.float32)
        gradient = gradient.masked_fill(labels == IGNORED, 0.0)
        for part in _parts(len(features), context.size):
            chances = _logits(features[part], weight, bias)
            chances.sub_(normaliser[part, None]).exp_()
            at = labels[part].clamp(min=0)[:, None]
            chances.scatter_add_(1, at, chances.new_full(at.shape, -1.0))
            chances.mul_(gradient[part, None])
            of_bias += chances.sum(0)
            chances = chances.to(features.dtype)
            own[part] = chances @ weight
            of_table += chances.T @ features[part]
        return own, of_table.to(table.dtype), of_bias.to(bias.dtype), None, None


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(low, low + size) for low in range(0, count, size))


def _logits(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(features, weight, bias.to(features.dtype)).float()
