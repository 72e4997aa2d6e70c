"""The four things that pass between loop, objective and encoder.

Legend: B rows of a batch, L positions of a row, K predicted positions of a row (fixed capacity,
so that shapes never change), D hidden width, V vocabulary.
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
    """Rows of text as the encoder could read them uncorrupted."""

    tokens: Int[Tensor, "B L"]
    real: Bool[Tensor, "B L"]
    """An ordinary token: neither padding nor special. Only these may be hidden or predicted."""
    word_start: Bool[Tensor, "B L"]
    sentence_start: Bool[Tensor, "B L"]
    example_ids: Int[Tensor, " B"]
    attention_mask: Bool[Tensor, "B L"] | None = None
    """Where a token stands (special ones too); None when no row is padded."""
    progress: float = 0.0
    """Share of the budget spent, 0..1, for schedules."""
    statistics: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    """What `Objective.collect_statistics` found in the training part."""


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """Who may see whom; an argument of the encoder, never another encoder class."""

    pattern: Literal["full", "causal", "prefix"] = "full"
    attention_mask: Bool[Tensor, "B L"] | None = None
    """Keys that exist; None when no row is padded."""
    prefix_lengths: Int[Tensor, " B"] | None = None
    """For `prefix`: query i sees key j iff j < prefix or j <= i."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A corrupted batch: what the encoder sees and what is asked back."""

    inputs: Int[Tensor, "B L"]
    attention: Attention
    labels: Int[Tensor, "B K"]
    """The wanted token, or `IGNORED`. Ids from the vocabulary's size on are the head's own."""
    positions: Int[Tensor, "B K"] | None = None
    """Where each label is read; None: label i is read at position i, or by a decoder of its own."""
    origins: Int[Tensor, "B L"] | None = None
    """For each input the position of the text it stands at, -1 where none; None: the same one."""
    extras: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """What else the objective's own loss needs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Loss:
    """A sum and its count, so that micro-batches add up and the loop divides once.

    The mean of micro-batch means is wrong wherever counts differ.
    """

    sum: Float[Tensor, ""]
    """Nats, summed over predictions."""
    predictions: Int[Tensor, ""]
    """Tokens asked back: an axis of the budget."""
    divisor: Float[Tensor, ""] | None = None
    """What the loop divides the sum by, if not the predictions; it adds up as they do."""
    parts: dict[str, tuple[Tensor, Tensor]] = dataclasses.field(default_factory=dict)
    """Named (sum, count) pairs for the curve, when a loss has several terms."""
    slots: float | None = None
    """What `Cost.flops_per_prediction` is charged for, if not every place that a label has."""
