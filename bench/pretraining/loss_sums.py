"""Sums of losses and their divisors, which add up over micro-batches and steps.

The division happens once, at the end, because the mean of means is wrong if the counts differ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.pretraining.batch import Loss


class MicroBatchLoss(NamedTuple):
    """The loss and the costs of one micro-batch, as numbers."""

    nats: float
    predictions: int
    divisor: float
    slots: float
    """Positions whose logits were computed, unused slots included."""
    tokens: int
    """Tokens read, without padding."""
    terms: dict[str, tuple[float, float]]
    """Named (sum, count) pairs of a loss with several terms."""


@dataclasses.dataclass
class Mean:
    """A sum and its divisor."""

    total: float = 0.0
    divisor: float = 0.0

    def add(self, total: float, divisor: float) -> None:
        self.total += total
        self.divisor += divisor

    @property
    def value(self) -> float:
        """The quotient, or NaN if the divisor is zero."""
        return self.total / self.divisor if self.divisor else math.nan


def divisor_of(loss: Loss) -> float:
    """The number by which the sum of a loss is divided."""
    return float(loss.predictions if loss.divisor is None else loss.divisor)


def curve_terms(losses: Sequence[MicroBatchLoss]) -> Iterator[tuple[str, float, float]]:
    """(Column of the training curve, sum, count) of each whole loss and of each of its terms."""
    for loss in losses:
        yield "train_nats", loss.nats, loss.divisor
        for name, (total, count) in loss.terms.items():
            yield f"train_{name}_nats", total, count
