"""The layers of the encoder, which heads that read or write text use as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.attention.flex_attention import BlockMask, flex_attention

if TYPE_CHECKING:
    from bench.spec import EncoderShape

NORM_EPSILON = 1e-5

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of the angles, each [L, half the width of a head]."""


Allowed = Tensor | BlockMask | None
"""The keys that a query may see: booleans, a block mask, or None for all."""


def attend(query: Tensor, key: Tensor, value: Tensor, allowed: Allowed, is_causal: bool) -> Tensor:
    """Attention of heads, each tensor [B, H, L, width of a head]."""
    if isinstance(allowed, BlockMask):
        return flex_attention(query, key, value, block_mask=allowed)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, is_causal=is_causal)


class SelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.Wqkv = nn.Linear(shape.hidden_size, 3 * shape.hidden_size, bias=False)
        self.Wo = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, allowed: Allowed, is_causal: bool) -> Tensor:
        rows, length, width = x.shape
        heads = self.Wqkv(x).view(rows, length, 3, self.num_heads, width // self.num_heads)
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            query, key, value = _RotatedInPlace.apply(heads, *rotary)  # type: ignore[no-untyped-call]
        else:
            # Indexing instead of `split` would pad the gradients.
            to_rotate, values = heads.permute(2, 0, 3, 1, 4).split((2, 1))
            query, key = rotate(to_rotate, rotary).unbind()
            value = values.squeeze(0)
        mixed = attend(query, key, value, allowed, is_causal)
        return self.Wo(mixed.transpose(1, 2).reshape(rows, length, width))  # type: ignore[no-any-return]


class GatedMLP(nn.Module):
    """GeGLU: one half of the widened input gates the other (Shazeer 2020)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.Wi = nn.Linear(shape.hidden_size, 2 * shape.mlp_size, bias=False)
        self.Wo = nn.Linear(shape.mlp_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        content, gate = self.Wi(x).chunk(2, dim=-1)
        return self.Wo(F.gelu(content) * gate)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and gated MLP, each after its norm; the input of layer 0 is already normalised."""

    def __init__(self, shape: EncoderShape, index: int) -> None:
        super().__init__()
        self.attn_norm = norm(shape.hidden_size) if index else nn.Identity()
        self.attn = SelfAttention(shape)
        self.mlp_norm = norm(shape.hidden_size)
        self.mlp = GatedMLP(shape)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        allowed: Allowed,
        is_causal: bool,
        keep: Tensor | None = None,
    ) -> Tensor:
        """`keep` [B, 2, L, D] multiplies the outputs of attention and MLP (dropout)."""
        attended = self.attn(self.attn_norm(x), rotary, allowed, is_causal)
        x = x + (attended if keep is None else attended * keep[:, 0])
        content = self.mlp(self.mlp_norm(x))
        return x + (content if keep is None else content * keep[:, 1])  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """Token embedding and its norm; the attention encodes positions."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.norm = norm(shape.hidden_size)

    def forward(self, tokens: Tensor, extra: Tensor | None = None) -> Tensor:
        if extra is None:
            return self.norm(self.tok_embeddings(tokens))  # type: ignore[no-any-return]
        size = self.tok_embeddings.num_embeddings
        ordinary = self.tok_embeddings(tokens.clamp(max=size - 1))
        additional = F.embedding((tokens - size).clamp(min=0), extra)
        return self.norm(torch.where((tokens >= size)[:, :, None], additional, ordinary))  # type: ignore[no-any-return]


def norm(width: int) -> nn.LayerNorm:
    """A LayerNorm without bias."""
    return nn.LayerNorm(width, eps=NORM_EPSILON, bias=False)


def rotary_tables(max_length: int, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles of every position, each float32 [max_length, head_size / 2]."""
    frequencies = theta ** (-torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.arange(max_length).float()[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Rotate each pair (i, i + half) of a head by the angle of its position (Su et al. 2021)."""
    cosine, sine = rotary  # in float32: bfloat16 has too few bits for the angles
    low, high = x.chunk(2, dim=-1)
    rotated = torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)
    return rotated.to(x.dtype)


class _RotatedInPlace(torch.autograd.Function):
    """Queries, keys and values of [B, L, 3, H, D]; the first two are rotated where they stand.

    The arithmetic is that of `rotate` in a third of its operations, which no compiler fuses on a
    CPU: a step takes 3 to 5 % less time. Nothing else may need the unrotated values.
    """

    @staticmethod
    def forward(context: Any, heads: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, ...]:
        context.save_for_backward(cosine, sine)
        _rotate_in_place(heads[:, :, :2], cosine, sine)
        return heads.permute(2, 0, 3, 1, 4).unbind()

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = context.saved_tensors
        joined = torch.stack([part.transpose(1, 2) for part in gradients], dim=2)
        _rotate_in_place(joined[:, :, :2], cosine, -sine)
        return joined, None, None


def _rotate_in_place(x: Tensor, cosine: Tensor, sine: Tensor) -> None:
    """Rotate [B, L, 2, H, D] by the angles [L, D / 2] of its positions."""
    cosine, sine = cosine[:, None, None].to(x.dtype), sine[:, None, None].to(x.dtype)
    low, high = x.chunk(2, dim=-1)
    from_low = low * sine
    low.mul_(cosine).addcmul_(high, sine, value=-1)
    high.mul_(cosine).add_(from_low)
