"""The compiled layers: few shapes, one graph, and an error where there is no graph.

`torch.compile` compiles again for every new shape, and after a number of them it runs without
compiling and says nothing. So rows are padded to a quarter of a micro-batch or a multiple, which
gives at most four shapes for each attention pattern, and a graph that breaks is an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import FailedError
from bench.pretraining.batch import Attention
from bench.pretraining.encoder.blocks import MIN_LENGTH, block_mask
from bench.pretraining.encoder.shared import Mask

if TYPE_CHECKING:
    from bench.pretraining.encoder.layers import Allowed

MAX_GRAPHS = 32
"""Four numbers of rows, three patterns, with and without further embeddings, and some to spare."""
PARTS = 4


def is_compiled() -> bool:
    """Whether the encoder is compiled on a GPU."""
    return os.environ.get("BENCH_COMPILE") != "0"


class Compiled:
    """Runs layers for training on a GPU.

    Args:
        run: (tokens, allowed keys, whether causal, further embeddings, dropout) -> last states.
        rows: Rows of a micro-batch.
    """

    def __init__(self, run: Callable[..., Tensor], rows: int) -> None:
        self.rows = rows
        self._run = run
        if is_compiled():
            torch._dynamo.config.recompile_limit = MAX_GRAPHS
            self._run = torch.compile(run, dynamic=False, fullgraph=True)

    def __call__(
        self, tokens: Tensor, attention: Attention, extra: Tensor | None, keep: Tensor | None
    ) -> Tensor:
        """The last states of the rows."""
        count, length = tokens.shape
        rows = self.padded(count)
        if rows > count:
            tokens = _padded(tokens, rows, 0)
            attention = padded_attention(attention, rows)
            keep = None if keep is None else _padded(keep, rows, 1)
        allowed, is_causal = self._mask(attention, rows, length)
        with _compile_errors():
            return self._run(tokens, allowed, is_causal, extra, keep)[:count]

    def padded(self, rows: int) -> int:
        """The number of rows that so many rows are padded to."""
        part = -(-self.rows // PARTS)
        return -(-rows // part) * part

    def _mask(self, attention: Attention, rows: int, length: int) -> tuple[Allowed, bool]:
        mask = attention.attention_mask
        given = (attention.documents, attention.prefix_lengths, mask)
        is_cuda = any(one is not None and one.is_cuda for one in given)
        if is_cuda and length >= MIN_LENGTH:
            blocks = block_mask(attention, rows, length)
            if blocks is not None:
                return blocks, False
        plain = Mask.of(attention, length)
        return plain.allowed, plain.is_causal


def padded_attention(attention: Attention, rows: int) -> Attention:
    """The pattern of a batch with further rows, in which everything is visible.

    Not every kernel promises finite gradients of a row in which nothing is visible.
    """
    values: dict[str, int] = {"attention_mask": True, "prefix_lengths": 0, "documents": 0}
    tensors = {name: getattr(attention, name) for name in values}
    padded: dict[str, Any] = {
        name: _padded(tensor, rows, values[name])
        for name, tensor in tensors.items()
        if tensor is not None
    }
    return dataclasses.replace(attention, **padded)


def _padded(tensor: Tensor, rows: int, value: int) -> Tensor:
    return F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, rows - len(tensor)), value=value)


@contextlib.contextmanager
def _compile_errors() -> Iterator[None]:
    """One clear error where the layers cannot be compiled.

    Raises:
        FailedError: They cannot.
    """
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    try:
        yield
    except (FailOnRecompileLimitHit, TorchDynamoException) as error:
        inner = getattr(error, "inner_exception", None)
        if isinstance(inner, torch.OutOfMemoryError):
            raise inner from None
        first = str(error).strip().partition("\n")[0]
        raise FailedError(
            f"the encoder cannot be compiled ({type(error).__name__}: {first}); BENCH_COMPILE=0 "
            "runs it without compiling, at a lower speed"
        ) from error
