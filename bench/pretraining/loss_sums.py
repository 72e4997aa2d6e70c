"""Sums that add up over micro-batches and steps: losses with their divisors, and counters.

The division happens once, at the end, because the mean of means is wrong if the counts differ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.batch import Loss
    from bench.pretraining.objective import Objective


class MicroBatchLoss(NamedTuple):
    """The loss of one micro-batch, as numbers."""

    nats: float
    predictions: int
    divisor: float
    terms: dict[str, tuple[float, float]]
    """Named (sum, count) pairs of a loss with several terms."""
    counters: Mapping[str, Tensor]
    """Named integer counts for the feedback of an objective."""


class MicroBatchSums(NamedTuple):
    """The loss of one micro-batch on the device, and the costs that are known without it."""

    scalars: list[Tensor]
    """Nats, predictions, divisor, then the sum and the count of each term."""
    terms: tuple[str, ...]
    counters: Mapping[str, Tensor]
    slots: float
    """Positions whose logits were computed, unused slots included."""
    tokens: int
    """Tokens read, without padding."""

    @classmethod
    def of(cls, loss: Loss, slots: float, tokens: int) -> MicroBatchSums:
        """The sums of a loss, without its graph."""
        divisor = loss.predictions if loss.divisor is None else loss.divisor
        pairs = (number for pair in loss.parts.values() for number in pair)
        scalars = [number.detach() for number in (loss.sum, loss.predictions, divisor, *pairs)]
        return cls(scalars, tuple(loss.parts), loss.counters, slots, tokens)

    def numbers(self, values: Sequence[float]) -> MicroBatchLoss:
        """The loss, given the values of the scalars."""
        nats, predictions, divisor, *pairs = values
        terms = dict(zip(self.terms, zip(pairs[::2], pairs[1::2], strict=True), strict=True))
        return MicroBatchLoss(nats, int(predictions), divisor, terms, self.counters)


@dataclasses.dataclass
class Feedback:
    """Sums over the model's predictions, for an objective that adapts to them.

    Counters are integers, so their sums are equal for every split of a batch and every order of
    additions, and a sum over several processes will be exact too.
    """

    statistics: Mapping[str, Tensor]
    """The statistics of training batches."""
    counters: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """The sums of counters since the statistics were last adapted."""

    def add(self, counters: Mapping[str, Tensor]) -> None:
        """Add the counters of one micro-batch."""
        for name, counts in counters.items():
            known = self.counters.get(name)
            self.counters[name] = counts if known is None else known + counts.to(known.device)

    def adapt(self, objective: Objective, steps: int) -> None:
        """Let the objective adapt the statistics if it is due after so many steps."""
        if steps % objective.feedback_steps == 0:
            self.statistics = objective.adapt(self.statistics, self.counters)
            self.counters = {}


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
