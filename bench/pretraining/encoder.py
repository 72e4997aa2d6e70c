"""The one encoder that every objective trains: ModernBERT's with every layer global.

RoPE, GeGLU, no biases, `scaled_dot_product_attention`; the attention pattern is an argument of
forward. Module names and arithmetic are ModernBERT's, so a run exports to `transformers` with
equal hidden states. The LayerNorm right after the token embedding was the largest single lever
in a prototype of the generated corpus: masked loss 1.9 with it after 0.4M tokens, 3.4 without.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.noise import Noise

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.pretraining.batch import Attention
    from bench.spec import EncoderShape

ROTARY_THETA = 160_000.0
NORM_EPSILON = 1e-5
INITIAL_DEVIATION = 0.02

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of the angles, [L, half a head's width] each."""


class Attend(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.Wqkv = nn.Linear(shape.hidden_size, 3 * shape.hidden_size, bias=False)
        self.Wo = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, allowed: Tensor | None, is_causal: bool) -> Tensor:
        rows, length, width = x.shape
        heads = self.Wqkv(x).view(rows, length, 3, self.num_heads, width // self.num_heads)
        turned, value = heads.permute(2, 0, 3, 1, 4).split((2, 1))  # an index would pad gradients
        query, key = rotate(turned, rotary).unbind()
        mixed = F.scaled_dot_product_attention(
            query, key, value.squeeze(0), attn_mask=allowed, is_causal=is_causal
        )
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
    """Attention and gated MLP, each behind its norm. The first layer's input is normed already."""

    def __init__(self, shape: EncoderShape, index: int) -> None:
        super().__init__()
        self.attn_norm = norm(shape.hidden_size) if index else nn.Identity()
        self.attn = Attend(shape)
        self.mlp_norm = norm(shape.hidden_size)
        self.mlp = GatedMLP(shape)

    def forward(self, x: Tensor, rotary: Rotary, allowed: Tensor | None, is_causal: bool) -> Tensor:
        x = x + self.attn(self.attn_norm(x), rotary, allowed, is_causal)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """Token embedding and its norm; positions are in the attention."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.norm = norm(shape.hidden_size)

    def forward(self, tokens: Tensor, extra: Tensor | None = None) -> Tensor:
        if extra is None:
            return self.norm(self.tok_embeddings(tokens))  # type: ignore[no-any-return]
        own = self.tok_embeddings.num_embeddings
        found = self.tok_embeddings(tokens.clamp(max=own - 1))
        added = F.embedding((tokens - own).clamp(min=0), extra)
        return self.norm(torch.where((tokens >= own)[:, :, None], added, found))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Token ids to contextual features.

    Args:
        shape: Width, depth and vocabulary.
        seed: Of the initial weights: the same for every objective of a seed, on every device.
            None where weights are to be loaded.
    """

    def __init__(self, shape: EncoderShape, seed: int | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.tokens_read = 0  # positions that went through forward: the ledger checks it
        with torch.random.fork_rng(devices=[]):  # torch draws weights, which are replaced below
            self.embeddings = Embeddings(shape)
            self.layers = nn.ModuleList(Layer(shape, index) for index in range(shape.num_layers))
            self.final_norm = norm(shape.hidden_size)
        cosine, sine = rotary_tables(shape.max_length, shape.hidden_size // shape.num_heads)
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self._last: Callable[[Tensor, Tensor | None, bool, Tensor | None], Tensor] = self._run
        if seed is not None:
            initialise(self, seed, "encoder")

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        attention: Attention,
        extra: Float[Tensor, "S D"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Features of the last layer.

        Args:
            tokens: Ids; from the vocabulary's size on they are rows of `extra`.
            attention: Who sees whom.
            extra: Embeddings that an objective adds (sentinels): part of its head, so that every
                objective trains the same encoder.
        """
        mask = self._read(tokens, attention)
        return self._last(tokens, mask.allowed, mask.is_causal, extra)

    def hidden_states(
        self, tokens: Int[Tensor, "B L"], attention: Attention
    ) -> list[Float[Tensor, "B L D"]]:
        """The embedding output, then every layer's; the last one after the final norm.

        Raises:
            ValueError: A row is longer than the encoder's positions.
        """
        mask = self._read(tokens, attention)
        return self._stack(tokens, mask.allowed, mask.is_causal)

    def compile_forward(self) -> None:
        """Compile what runs on the device; the counting and the mask stay outside, uncompiled."""
        self._last = torch.compile(self._run, dynamic=False)

    def _read(self, tokens: Tensor, attention: Attention) -> Mask:
        if tokens.shape[1] > self.shape.max_length:
            raise ValueError(
                f"{tokens.shape[1]} positions, the encoder has {self.shape.max_length}"
            )
        self.tokens_read += tokens.numel()
        return Mask.of(attention, tokens.shape[1])

    def _run(
        self, tokens: Tensor, allowed: Tensor | None, is_causal: bool, extra: Tensor | None
    ) -> Tensor:
        return self._stack(tokens, allowed, is_causal, extra)[-1]

    def _stack(
        self,
        tokens: Tensor,
        allowed: Tensor | None,
        is_causal: bool,
        extra: Tensor | None = None,
    ) -> list[Tensor]:
        length = tokens.shape[1]
        rotary = (self.cosine[:length], self.sine[:length])
        states = [self.embeddings(tokens, extra)]
        for layer in self.layers:
            states.append(layer(states[-1], rotary, allowed, is_causal))
        states[-1] = self.final_norm(states[-1])
        return states


@dataclasses.dataclass(frozen=True)
class Mask:
    """An attention pattern as `scaled_dot_product_attention` takes it."""

    allowed: Tensor | None
    is_causal: bool

    @staticmethod
    def of(attention: Attention, length: int) -> Mask:
        """Padding stands right of the text, so a causal query never reaches it: no mask needed."""
        if attention.pattern == "causal":
            return Mask(None, True)
        allowed = None
        if attention.attention_mask is not None:
            allowed = attention.attention_mask[:, None, None, :]
        if attention.pattern == "prefix":
            if attention.prefix_lengths is None:
                raise ValueError("attention pattern 'prefix' needs prefix_lengths")
            at = torch.arange(length, device=attention.prefix_lengths.device)
            prefix = at[None, None, :] < attention.prefix_lengths[:, None, None]
            seen = (prefix | (at[None, None, :] <= at[None, :, None]))[:, None]
            allowed = seen if allowed is None else seen & allowed
        return Mask(allowed, False)


def norm(width: int) -> nn.LayerNorm:
    """LayerNorm without bias."""
    return nn.LayerNorm(width, eps=NORM_EPSILON, bias=False)


def rotary_tables(max_length: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, [max_length, head_size / 2] float32."""
    frequencies = ROTARY_THETA ** (-torch.arange(0, head_size, 2).float() / head_size)
    angles = torch.arange(max_length).float()[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn each pair (i, i + half) of a head by its position's angle (Su et al. 2021)."""
    cosine, sine = (table.to(x.dtype) for table in rotary)
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cosine - high * sine, high * cosine + low * sine), dim=-1)


@torch.no_grad()
def initialise(module: nn.Module, seed: int, part: str) -> None:
    """Fill the weights from counter-based noise, a stream a parameter.

    Truncated-free normals of deviation 0.02 for embeddings and 1/sqrt(fan-in) for matrices, whose
    output scale then does not depend on the width; what writes into a residual stream (`Wo`) is
    divided by the square root of how many do. No generator: adding a parameter elsewhere changes no
    other.
    """
    writers = collections.Counter(
        name.partition("layers.")[0]
        for name, _ in module.named_parameters()
        if name.endswith(".Wo.weight")
    )
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            continue  # norms start at one, biases at zero, as torch made them
        noise = Noise(seed, 0, torch.arange(parameter.shape[0]))
        first = noise.uniform(f"{part}.{name}.radius", tuple(parameter.shape))
        second = noise.uniform(f"{part}.{name}.angle", tuple(parameter.shape))
        normal = (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()
        deviation = parameter.shape[1] ** -0.5
        if "embeddings" in name:
            deviation = INITIAL_DEVIATION
        if name.endswith(".Wo.weight"):
            deviation /= writers[name.partition("layers.")[0]] ** 0.5
        parameter.copy_(normal * deviation)
