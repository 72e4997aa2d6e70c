"""A small masked language model that replaces tokens, and the detector of replaced tokens.

The generator shares the encoder's token embedding, norm included, as in ELECTRA's release. Through
this embedding the generator's loss reaches the encoder. Its samples carry no gradient. Its width is
reduced by whole attention heads, because another head width would be another kind of model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.encoder import Layer, Mask, norm, rotary_tables

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Attention
    from bench.pretraining.encoder import SharedEncoder
    from bench.spec import EncoderShape


class Generator(nn.Module):
    """Predicts hidden tokens: a narrower encoder between the shared embedding and the logits.

    Args:
        shape: The encoder's shape.
        generator_shape: The shape of the generator's layers.
        vocabulary: The vocabulary whose ordinary tokens are drawn.
    """

    def __init__(
        self, shape: EncoderShape, generator_shape: EncoderShape, vocabulary: Vocabulary
    ) -> None:
        super().__init__()
        self.down = nn.Linear(shape.hidden_size, generator_shape.hidden_size, bias=False)
        self.embedding_norm = norm(generator_shape.hidden_size)
        self.layers = nn.ModuleList(
            Layer(generator_shape, index) for index in range(generator_shape.num_layers)
        )
        self.final_norm = norm(generator_shape.hidden_size)
        self.up = nn.Linear(generator_shape.hidden_size, shape.hidden_size, bias=False)
        self.norm = norm(shape.hidden_size)
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size))
        cosine, sine = rotary_tables(
            shape.max_length,
            generator_shape.hidden_size // generator_shape.num_heads,
            shape.rotary_theta,
        )
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        special = set(vocabulary.special_ids)
        ordinary = [i for i in range(vocabulary.size) if i not in special]
        self.ordinary: Tensor
        self.register_buffer("ordinary", torch.tensor(ordinary), persistent=False)

    def forward(
        self,
        encoder: SharedEncoder,
        tokens: Int[Tensor, "B L"],
        attention: Attention,
        positions: Int[Tensor, "B K"],
    ) -> Float[Tensor, "B K V"]:
        """Logits at the given positions."""
        length = tokens.shape[1]
        mask = Mask.of(attention, length)
        rotary = (self.cosine[:length], self.sine[:length])
        x = self.embedding_norm(self.down(encoder.embed(tokens)))
        for layer in self.layers:
            x = layer(x, rotary, mask.allowed, mask.is_causal)
        index = positions[:, :, None].expand(-1, -1, x.shape[-1])
        hidden = self.up(self.final_norm(x.gather(1, index)))
        table = encoder.token_table
        return F.linear(self.norm(F.gelu(hidden)), table, self.bias)

    @torch.no_grad()
    def sample(
        self, logits: Float[Tensor, "B K V"], uniform: Float[Tensor, "B K"]
    ) -> Int[Tensor, "B K"]:
        """Draw ordinary tokens from softmax(logits) by the inverse distribution function.

        This takes one draw per sample; the Gumbel trick takes one per token of the vocabulary.
        """
        cumulative = logits[:, :, self.ordinary].float().softmax(-1).cumsum(-1)
        drawn = uniform[:, :, None] * cumulative[:, :, -1:]
        index = torch.searchsorted(cumulative, drawn, right=True)[:, :, 0]
        return self.ordinary[index.clamp(max=len(self.ordinary) - 1)]  # rounding may exceed it


class GeneratorAndDetector(nn.Module):
    """The modules that replaced-token detection trains beside the encoder.

    Args:
        shape: The shape of the encoder, which is the discriminator.
        generator_shape: The shape of the generator's layers.
        vocabulary: The vocabulary whose ordinary tokens are drawn.
    """

    def __init__(
        self, shape: EncoderShape, generator_shape: EncoderShape, vocabulary: Vocabulary
    ) -> None:
        super().__init__()
        self.generator = Generator(shape, generator_shape, vocabulary)
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size, bias=False)
        self.out = nn.Linear(shape.hidden_size, 1)

    def detect(self, hidden: Float[Tensor, "B L D"]) -> Float[Tensor, "B L"]:
        """The log-odds that the token at each position is not the original one."""
        return self.out(F.gelu(self.dense(hidden)))[:, :, 0]  # type: ignore[no-any-return]
