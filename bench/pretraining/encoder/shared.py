"""The interface of an encoder for objectives, heads and readers, whoever made its layers.

Bench's own `Encoder` and the encoders of public checkpoints (`bench.pretraining.checkpoints`) have
the same methods, so every objective can continue a checkpoint. An encoder counts the positions that
it reads, checks their number, and draws dropout from the noise of the batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.pretraining.batch import Attention
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


class SharedEncoder(nn.Module, ABC):
    """Maps token ids to contextual features.

    Args:
        shape: Width, depth, maximum length and vocabulary size.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self._tokens_read = 0
        self._dropout: tuple[float, Noise] | None = None
        self._drops_in_evaluation = False
        self._passes = 0  # since the noise was set: each draws its own positions

    @property
    def tokens_read(self) -> int:
        """Positions processed by forward; `check_passes` tests it, so no objective can set it."""
        return self._tokens_read

    def uncount(self, tokens_read: int) -> None:
        """Set the counter back: what was processed since is no part of the training."""
        self._tokens_read = tokens_read

    @property
    @abstractmethod
    def token_table(self) -> Float[Tensor, "V D"]:
        """The embeddings of all tokens, which heads share for their logits."""

    @abstractmethod
    def embed(
        self, tokens: Int[Tensor, "B L"], extra: Float[Tensor, "S D"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """The input of the first layer; ids from the vocabulary size on select rows of `extra`."""

    @abstractmethod
    def forward_flops(self, rows: int, length: int) -> float:
        """FLOPs of a forward pass over `rows` rows of `length` positions."""

    @abstractmethod
    def _states(self, tokens: Tensor, mask: Mask, extra: Tensor | None) -> list[Tensor]:
        """The output of the embeddings and of every layer."""

    def forward(
        self,
        tokens: Int[Tensor, "B L"],
        attention: Attention,
        extra: Float[Tensor, "S D"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Features of the last layer.

        Args:
            tokens: Token ids. Ids from the vocabulary size on select rows of `extra`.
            attention: The attention pattern.
            extra: Embeddings that an objective adds, such as sentinels. They belong to its head, so
                that every objective trains the same encoder.

        Raises:
            ValueError: The rows are longer than the encoder's maximum length.
        """
        return self._last_state(tokens, self._read(tokens, attention), extra)

    def hidden_states(
        self, tokens: Int[Tensor, "B L"], attention: Attention
    ) -> list[Float[Tensor, "B L D"]]:
        """The outputs of the embeddings and of every layer; a final norm is part of the last one.

        Raises:
            ValueError: The rows are longer than the encoder's maximum length.
        """
        return self._states(tokens, self._read(tokens, attention), None)

    def compile_forward(self, rows: int) -> None:
        """Compile the layers where they can be compiled; the default compiles nothing.

        Args:
            rows: Rows of a micro-batch. Fewer rows are padded to a quarter of it or a multiple.
        """

    def set_dropout(self, rate: float, noise: Noise) -> None:
        """Drop this share of outputs in the next forward passes, at positions from the noise.

        The positions are a function of seed, epoch and example, as all else that is drawn, so a
        resumed run and other micro-batches give the same training.
        """
        self._dropout, self._passes = (rate, noise) if rate else None, 0

    @contextlib.contextmanager
    def dropout(self, rate: float, noise: Noise) -> Iterator[None]:
        """Inside the block, drop this share of outputs, in evaluation too.

        It is for an objective whose loss is about dropout, so `training.dropout` does not apply
        inside the block, and the validation loss has the same meaning as the training loss.
        """
        before = self._dropout, self._passes, self._drops_in_evaluation
        self.set_dropout(rate, noise)
        self._drops_in_evaluation = True
        try:
            yield
        finally:
            self._dropout, self._passes, self._drops_in_evaluation = before

    @property
    def _drops(self) -> bool:
        """Whether the next forward pass drops outputs."""
        return self._dropout is not None and (self.training or self._drops_in_evaluation)

    def _last_state(self, tokens: Tensor, mask: Mask, extra: Tensor | None) -> Tensor:
        return self._states(tokens, mask, extra)[-1]

    def _kept(self, stream: str, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Multipliers of outputs: 0 where one is dropped, 1 / (1 - rate) elsewhere.

        Args:
            stream: Name of the draws within the forward pass.
            like: A tensor with the rows and the device of the batch.
            shape: Shape of the multipliers of a row.
        """
        assert self._dropout is not None
        rate, noise = self._dropout
        rows = len(like)
        if rows != len(noise.example_ids):  # an objective that adds or joins rows
            ids = torch.arange(rows, device=like.device)
            noise = dataclasses.replace(noise, epoch=0, example_ids=ids)
        return (noise.uniform(stream, (rows, *shape)) >= rate) / (1.0 - rate)

    def _read(self, tokens: Tensor, attention: Attention) -> Mask:
        """Check the length, count the tokens read, and return the mask."""
        self._count(tokens)
        return Mask.of(attention, tokens.shape[1])

    def _count(self, tokens: Tensor) -> None:
        """Check the length and count the tokens read."""
        if tokens.shape[1] > self.shape.max_length:
            raise ValueError(
                f"the rows have {tokens.shape[1]} positions, but the encoder has only "
                f"{self.shape.max_length}; shorten them or raise encoder.max_length"
            )
        self._tokens_read += tokens.numel()


@dataclasses.dataclass(frozen=True)
class Mask:
    """The mask arguments of `scaled_dot_product_attention` for an attention pattern."""

    allowed: Tensor | None
    is_causal: bool

    @staticmethod
    def of(attention: Attention, length: int) -> Mask:
        """The mask of a pattern for rows of `length` positions.

        A causal pattern needs no padding mask, because padding is to the right of the text.

        Raises:
            ValueError: The pattern is `prefix` and has no prefix lengths.
        """
        documents = attention.documents
        if attention.pattern == "causal" and documents is None:
            return Mask(None, True)
        allowed = None
        if attention.attention_mask is not None and attention.pattern != "causal":
            allowed = attention.attention_mask[:, None, None, :]
        visible = _visible(attention, length)
        if documents is not None:
            own = (documents[:, :, None] == documents[:, None, :])[:, None]
            visible = own if visible is None else visible & own
        if visible is not None:
            allowed = visible if allowed is None else visible & allowed
        return Mask(allowed, False)


def _visible(attention: Attention, length: int) -> Tensor | None:
    """Which keys a query may see by the pattern alone; None: all of them."""
    if attention.pattern == "full":
        return None
    if attention.pattern == "causal":
        assert attention.documents is not None
        at = torch.arange(length, device=attention.documents.device)
        return (at[None, :] <= at[:, None])[None, None]
    if attention.prefix_lengths is None:
        raise ValueError("attention pattern 'prefix' needs prefix_lengths")
    index = torch.arange(length, device=attention.prefix_lengths.device)
    prefix = index[None, None, :] < attention.prefix_lengths[:, None, None]
    return (prefix | (index[None, None, :] <= index[None, :, None]))[:, None]
