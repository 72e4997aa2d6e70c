"""Attention patterns as block masks of flex attention, which skips blocks that nobody may see.

A boolean mask makes `scaled_dot_product_attention` leave its fast kernels. A block mask keeps them
for prefixes, documents and padding. It needs a GPU, because flex attention has no backward pass on
a CPU: there, and for short rows, the boolean mask is used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.flex_attention import BlockMask, and_masks, create_block_mask

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.batch import Attention

MIN_LENGTH = 128
"""Positions of a block. Shorter rows are one block, of which nothing can be skipped."""


def block_mask(attention: Attention, rows: int, length: int) -> BlockMask | None:
    """The pattern as a block mask; None where a kernel without a mask does the same.

    Args:
        attention: The pattern; a causal one needs no padding mask, as padding is to the right.
        rows: Rows of the batch.
        length: Positions of a row.
    """
    mask, prefix = attention.attention_mask, attention.prefix_lengths
    documents, is_causal = attention.documents, attention.pattern == "causal"
    parts: list[Callable[..., Tensor]] = []
    if is_causal:
        parts.append(lambda b, head, query, key: query >= key)
    if prefix is not None:
        parts.append(lambda b, head, query, key: (query >= key) | (key < prefix[b]))
    if mask is not None and not is_causal:
        parts.append(lambda b, head, query, key: mask[b, key])
    if documents is not None:
        parts.append(lambda b, head, query, key: documents[b, query] == documents[b, key])
    given = [one for one in (documents, prefix, mask) if one is not None]
    if not parts or (is_causal and documents is None):
        return None
    device = given[0].device
    create = _create(device.type)
    created: BlockMask = create(and_masks(*parts), rows, None, length, length, device=device)
    return created


@functools.cache
def _create(device: str) -> Callable[..., Any]:
    """Compiled on a GPU, or it would build the whole mask before it cuts it into blocks."""
    if device == "cuda":
        return torch.compile(create_block_mask, dynamic=False)
    return create_block_mask
