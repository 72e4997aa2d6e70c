"""A decoder that writes text from the encoder's output; it is discarded after pretraining.

Its layers are those of the encoder (rotary positions, GeGLU, pre-norm) plus attention to the
encoder's output between self-attention and MLP. The token embedding is the encoder's, as in T5 and
BART, so that what the decoder learns about the meaning of words stays in the encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.encoder import GatedMLP, Rotary, SelfAttention, norm, rotary_tables
from bench.pretraining.heads.pooling import Pooling, pooled

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from bench.pretraining.encoder import SharedEncoder
    from bench.spec import EncoderShape


class CrossAttend(nn.Module):
    """Multi-head attention from the decoder to the encoder's output, without rotary positions."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.num_heads = shape.num_heads
        self.Wq = nn.Linear(width, width, bias=False)
        self.Wkv = nn.Linear(width, 2 * width, bias=False)
        self.Wo = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor | None) -> Tensor:
        rows, length, width = x.shape
        size = width // self.num_heads
        query = self.Wq(x).view(rows, length, self.num_heads, size).transpose(1, 2)
        both = self.Wkv(memory).view(rows, memory.shape[1], 2, self.num_heads, size)
        key, value = both.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        mixed = mixed.transpose(1, 2).reshape(rows, length, width)
        return self.Wo(mixed)  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder and gated MLP, each with a pre-norm."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.attn_norm, self.attn = norm(width), SelfAttention(shape)
        self.cross_norm, self.cross = norm(width), CrossAttend(shape)
        self.mlp_norm, self.mlp = norm(width), GatedMLP(shape)

    def forward(self, x: Tensor, rotary: Rotary, memory: Tensor, allowed: Tensor | None) -> Tensor:
        x = x + self.attn(self.attn_norm(x), rotary, None, True)
        x = x + self.cross(self.cross_norm(x), memory, allowed)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Predicts each token of a text from those before it and from the encoder's output.

    Args:
        shape: The encoder's shape; the decoder has the same width.
        num_layers: The decoder's depth.
        target_length: Maximum length of the target, in tokens.
        num_sentinels: Number of tokens added to the vocabulary of encoder and decoder.
    """

    def __init__(
        self, shape: EncoderShape, num_layers: int, target_length: int, num_sentinels: int = 0
    ) -> None:
        super().__init__()
        self.sentinel_embeddings = (
            nn.Embedding(num_sentinels, shape.hidden_size) if num_sentinels else None
        )
        self.embedding_norm = norm(shape.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(num_layers))
        self.final_norm = norm(shape.hidden_size)
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size + num_sentinels))
        cosine, sine = rotary_tables(
            target_length, shape.hidden_size // shape.num_heads, shape.rotary_theta
        )
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    @property
    def sentinels(self) -> Float[Tensor, "S D"] | None:
        """Embeddings of the ids that follow the vocabulary; None without sentinels."""
        return None if self.sentinel_embeddings is None else self.sentinel_embeddings.weight

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        memory: Float[Tensor, "B L D"],
        attention_mask: Bool[Tensor, "B L"] | None,
        embedding: Float[Tensor, "V D"],
    ) -> Float[Tensor, "B T V2"]:
        """Logits of the token after each one, over vocabulary and sentinels.

        Args:
            tokens: The target shifted right: each place has the previous token.
            memory: The encoder's output.
            attention_mask: True where `memory` is a token, not padding; None: everywhere.
            embedding: The encoder's token embedding.
        """
        table = embedding if self.sentinels is None else torch.cat((embedding, self.sentinels))
        allowed = None if attention_mask is None else attention_mask[:, None, None, :]
        rotary = (self.cosine[: tokens.shape[1]], self.sine[: tokens.shape[1]])
        x = self.embedding_norm(F.embedding(tokens, table))
        for layer in self.layers:
            x = layer(x, rotary, memory, allowed)
        return F.linear(self.final_norm(x), table, self.bias)


def decoder_loss(
    encoder: SharedEncoder,
    decoder: Decoder,
    example: Example,
    pooling: Pooling | None = None,
) -> Loss:
    """Cross-entropy of the labels, each conditioned on `extras["written"]` up to its place.

    Args:
        encoder: The shared encoder.
        decoder: The decoder.
        example: The corrupted rows.
        pooling: The decoder attends to the pooled output alone; None: to the whole output.

    Raises:
        BenchError: The targets are longer than the decoder's maximum length.
    """
    if example.labels.shape[1] > len(decoder.cosine):
        raise BenchError(
            f"rows of {example.inputs.shape[1]} positions need targets of "
            f"{example.labels.shape[1]} tokens, but this decoder was built for at most "
            f"{len(decoder.cosine)}; rows must not be longer than `encoder.max_length`"
        )
    memory = encoder(example.inputs, example.attention, decoder.sentinels)
    attention_mask = example.attention.attention_mask
    if pooling is not None:
        memory, attention_mask = pooled(memory, attention_mask, pooling)[:, None], None
    embedding = encoder.token_table
    logits = decoder(example.extras["written"], memory, attention_mask, embedding)
    labels = example.labels.flatten()
    nats = F.cross_entropy(
        logits.flatten(0, 1).float(), labels, ignore_index=IGNORED, reduction="sum"
    )
    return Loss(nats, (labels != IGNORED).sum())
