"""The four types that loop, objective and encoder exchange.

Legend: B rows of a batch, L positions of a row, K predicted positions of a row, D hidden width,
V vocabulary. K is a fixed capacity, so that shapes never change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

IGNORED = -100
"""The label of a position that is not predicted."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Uncorrupted rows of text."""

    tokens: Int[Tensor, "B L"]
    real: Bool[Tensor, "B L"]
    """Whether the token is ordinary: neither padding nor special. An objective may hide and predict
    only these."""
    word_start: Bool[Tensor, "B L"]
    sentence_start: Bool[Tensor, "B L"]
    example_ids: Int[Tensor, " B"]
    attention_mask: Bool[Tensor, "B L"] | None = None
    """Whether a position has a token, special tokens included; None if no row is padded."""
    documents: Int[Tensor, "B L"] | None = None
    """The document of each position, counted within its row; None if attention ignores them."""
    progress: float = 0.0
    """Share of the budget spent, 0 to 1, for schedules."""
    statistics: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """From `Objective.collect_statistics` for the training part, or from `Objective.adapt`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """The attention pattern: an argument of the encoder, never another encoder class."""

    pattern: Literal["full", "causal", "prefix"] = "full"
    attention_mask: Bool[Tensor, "B L"] | None = None
    """Keys that are not padding; None if no row is padded."""
    prefix_lengths: Int[Tensor, " B"] | None = None
    """For `prefix`: query i attends to key j if and only if j < prefix or j <= i."""
    documents: Int[Tensor, "B L"] | None = None
    """The document of each position: a query attends only to keys of its own document. Objectives
    leave it out; the loop adds it (`bench.pretraining.corruption.packing`)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A corrupted batch: the inputs of the encoder and the labels to predict."""

    inputs: Int[Tensor, "B L"]
    attention: Attention
    labels: Int[Tensor, "B K"]
    """The token to predict, or `IGNORED`. Ids from the vocabulary size on belong to the head."""
    positions: Int[Tensor, "B K"] | None = None
    """The position whose feature predicts each label; None if label i is predicted at position i,
    or by the objective's own decoder."""
    origins: Int[Tensor, "B L"] | None = None
    """The position in the original text of each input, or -1; None if positions are unchanged."""
    extras: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Further tensors that the objective's own loss needs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A sum and a count, which add up over micro-batches, so that the loop divides once.

    The mean of micro-batch means is wrong if their counts differ.
    """

    sum: Float[Tensor, ""]
    """The loss in nats, summed over predictions."""
    predictions: Int[Tensor, ""]
    """The number of predicted tokens, which is an axis of the budget."""
    divisor: Float[Tensor, ""] | None = None
    """The divisor of the sum, if it is not `predictions`; it is summed over micro-batches too."""
    parts: dict[str, tuple[Tensor, Tensor]] = dataclasses.field(default_factory=dict)
    """Named (sum, count) pairs for the training curve, if the loss has several terms."""
    counters: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Named integer counts for `Objective.adapt`; they add up over micro-batches and steps."""
    slots: float | None = None
    """Multiplier of `Cost.flops_per_prediction`; None: the number of elements of the labels."""
