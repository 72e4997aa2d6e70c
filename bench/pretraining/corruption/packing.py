"""Attention that is bounded to the documents of a row, for any objective.

    row        [CLS] a1 a2 [SEP] b1 b2 [SEP] c1      several documents in one row
    joined     every query may see all of them       (the default)
    bounded    b1 sees b1, b2 and their [SEP]        (`--set training.packing=bounded`)

It concerns the encoder, and generators that share its attention. A decoder that reads the output of
the encoder, as that of T5, reads the whole row.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.corruption.mixing import MixedExample

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from bench.pretraining.batch import Example


def bounded(example: Example, documents: Int[Tensor, "B L"] | None) -> Example:
    """The example with the documents of its inputs; the same example if there are none.

    Args:
        example: The corrupted rows.
        documents: The document of each position of the uncorrupted rows.
    """
    if documents is None:
        return example
    own = documents if example.origins is None else _moved(documents, example.origins)
    attention = dataclasses.replace(example.attention, documents=own)
    example = dataclasses.replace(example, attention=attention)
    if isinstance(example, MixedExample):
        parts = tuple(bounded(part, documents) for part in example.examples)
        return dataclasses.replace(example, examples=parts)
    return example


def _moved(documents: Int[Tensor, "B L"], origins: Int[Tensor, "B M"]) -> Int[Tensor, "B M"]:
    """The document of each input; one that was inserted belongs to that of its left neighbour."""
    at = torch.arange(origins.shape[1], device=origins.device)
    known = torch.where(origins >= 0, at, 0).cummax(1).values
    return documents.gather(1, origins.gather(1, known).clamp(min=0))
