"""An encoder of transformers as a `SharedEncoder`, and its token head.

The pooler is left out, and so are the rows of the token table that no token of the tokenizer has.
Dropout is bench's own: transformers draws it from torch's generator, so that a resumed run would
differ. The FLOPs are those of the family: an MLP without a gate has two matrices, not three.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.checkpoints.families import base_model
from bench.pretraining.encoder import Encoder, Mask, SharedEncoder

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.pretraining.checkpoints.families import Family
    from bench.spec import EncoderShape


class CheckpointHead(nn.Module):
    """The token head of a checkpoint: a dense layer, an activation, a norm, the tied embedding."""

    def __init__(self, dense: nn.Module, activation: Any, norm: nn.Module, bias: Tensor) -> None:
        super().__init__()
        self.dense, self.norm = dense, norm
        self.bias = nn.Parameter(bias.detach().clone())
        self._activation = activation

    def forward(
        self, hidden: Float[Tensor, "*N D"], embedding: Float[Tensor, "V D"]
    ) -> Float[Tensor, "*N V"]:
        """Logits over the vocabulary; `embedding` is the encoder's token table."""
        return F.linear(self.norm(self._activation(self.dense(hidden))), embedding, self.bias)


class CheckpointEncoder(SharedEncoder):
    """An encoder of transformers.

    Args:
        model: The encoder without its heads; changed in place.
        family: Its architecture.
        shape: Its shape, with the vocabulary of the tokenizer.
    """

    def __init__(self, model: Any, family: Family, shape: EncoderShape) -> None:
        super().__init__(shape)
        self.model = model
        self._family = family
        _slice_vocabulary(model, shape.vocab_size)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        names = [name for name, _ in model.named_modules() if name.endswith(family.dropped)]
        for index, name in enumerate(names, 1):
            drop = functools.partial(self._drop, index)
            model.get_submodule(name).register_forward_hook(drop)

    @property
    def token_table(self) -> Float[Tensor, "V D"]:
        table: Tensor = self.model.get_input_embeddings().weight
        projection = self._projection
        return table if projection is None else F.linear(table, projection.weight)

    @property
    def _projection(self) -> nn.Linear | None:
        """The map of embeddings that are narrower than the layers, if they are."""
        own = getattr(self.model, "embeddings_project", None)  # ELECTRA
        return own if own is not None else getattr(self.model.embeddings, "embed_proj", None)

    def embed(
        self, tokens: Int[Tensor, "B L"], extra: Float[Tensor, "S D"] | None = None
    ) -> Float[Tensor, "B L D"]:
        table: nn.Embedding = self.model.get_input_embeddings()
        if extra is None:
            embedded = table(tokens)
        else:
            size, projection = self.shape.vocab_size, self._projection
            rows = extra if projection is None else extra @ projection.weight
            additional = F.embedding((tokens - size).clamp(min=0), rows)
            ordinary = table(tokens.clamp(max=size - 1))
            embedded = torch.where((tokens >= size)[:, :, None], additional, ordinary)
        x: Tensor = self.model.embeddings(inputs_embeds=embedded)
        own = getattr(self.model, "embeddings_project", None)
        return x if own is None else own(x)

    def forward_flops(self, rows: int, length: int) -> float:
        config, width = self.model.config, self.shape.hidden_size
        matrices = 4 * width**2 + (3 if self._family.is_gated else 2) * width * (
            config.intermediate_size
        )
        layer = rows * (2.0 * length * matrices + 4.0 * length**2 * width)
        layer += self._family.relative_flops(config, rows, length)
        projection = self._projection
        projected = 0 if projection is None else rows * length + self.shape.vocab_size
        narrow = self.model.get_input_embeddings().embedding_dim
        return float(config.num_hidden_layers * layer + 2 * projected * narrow * width)

    def _states(self, tokens: Tensor, mask: Mask, extra: Tensor | None) -> list[Tensor]:
        embedded = self._dropped(0, self.embed(tokens, extra))
        states = self._family.states(self.model, embedded, mask)
        self._passes += 1
        return states

    def _drop(self, index: int, _: nn.Module, __: Any, output: Tensor) -> Tensor:
        return self._dropped(index, output)

    def _dropped(self, index: int, output: Tensor) -> Tensor:
        """The output of a module; with dropout, a share of it is zero."""
        if not self._drops:
            return output
        stream = f"encoder.dropout.{self._passes}.{index}"
        return output * self._kept(stream, output, tuple(output.shape[1:]))


# Objectives name the type `Encoder`; their code is a part of ids, so the name stays.
Encoder.register(CheckpointEncoder)


def adapted(
    model: Any, family: Family, shape: EncoderShape
) -> tuple[CheckpointEncoder, CheckpointHead | None]:
    """The encoder and the token head of a masked language model.

    The head is None if it needs embeddings of another width than the encoder's.
    """
    dense, activation, norm, bias = family.head_parts(model)
    head = CheckpointHead(dense, activation, norm, bias[: shape.vocab_size])
    is_narrow = dense.out_features != shape.hidden_size
    return CheckpointEncoder(base_model(model), family, shape), None if is_narrow else head


def _slice_vocabulary(model: Any, size: int) -> None:
    """Keep the rows of the token table that tokens have; they are padded to a round number."""
    table: nn.Embedding = model.get_input_embeddings()
    if table.num_embeddings == size:
        return
    padding = table.padding_idx if table.padding_idx is not None else size
    embedding = nn.Embedding(
        size,
        table.embedding_dim,
        padding_idx=padding if padding < size else None,
        _weight=table.weight.detach()[:size].clone(),
    )
    model.set_input_embeddings(embedding)
    model.config.vocab_size = size
