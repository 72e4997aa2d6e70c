"""What a run has spent, on all four axes at once.

FLOPs are analytic, a multiply-add as two, because `FlopCounterMode` counts 0 for attention on a
CPU; under the MATH backend the two agree, and a test holds them together. Attention counts as full
whatever the pattern. The backward pass is twice the forward one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.pretraining.objective import Cost
    from bench.spec import Budget, EncoderShape

TRAINING_FACTOR = 3
"""Forward, and twice as much backward."""


def encoder_parameters(shape: EncoderShape) -> int:
    """Parameters of the shared encoder, embeddings included."""
    width, mlp = shape.hidden_size, shape.mlp_size
    layer = 4 * width * width + 3 * width * mlp + 2 * width
    # Layer 0 has no attention norm; the embedding norm and the final norm stand beside the layers.
    return shape.vocab_size * width + shape.num_layers * layer + width


def encoder_row_flops(shape: EncoderShape, length: int) -> float:
    """Forward FLOPs of one row of `length` positions."""
    width, mlp = shape.hidden_size, shape.mlp_size
    matrices = 2.0 * length * (4 * width * width + 3 * width * mlp)
    attention = 4.0 * length * length * width
    return shape.num_layers * (matrices + attention)


def step_flops(
    shape: EncoderShape, cost: Cost, rows: int, length: int, slots: int | float
) -> float:
    """Training FLOPs of a step.

    Args:
        shape: Of the encoder.
        cost: What the objective adds.
        rows: Rows of the step.
        length: Positions of a row.
        slots: Positions whose logits are computed, filled or not.
    """
    forward = (
        rows * cost.encoder_passes * encoder_row_flops(shape, length)
        + rows * length * cost.flops_per_position
        + slots * cost.flops_per_prediction
    )
    return TRAINING_FACTOR * forward


@dataclasses.dataclass
class Ledger:
    """The running account of one run."""

    tokens: int = 0
    """Tokens read, special ones included and padding not."""
    predictions: int = 0
    """Tokens asked back."""
    flops: float = 0.0
    seconds: float = 0.0
    """Of training; validation and writing checkpoints are not in it."""
    steps: int = 0
    empty_steps: int = 0
    """Steps in which nothing was predicted: no update was made."""

    def progress(self, budget: Budget) -> float:
        """Share of the budget spent, 0..1."""
        return min(1.0, float(getattr(self, budget.axis)) / budget.amount)


def check_passes(measured: int, declared: int, name: str) -> None:
    """Refuse a run whose objective read more than it declares (a shorter input is its own loss).

    Raises:
        BenchError: The encoder was run over more positions than the ledger charged.
    """
    if measured > declared:
        raise BenchError(
            f"objective {name!r} broke its contract: the encoder read {measured:,} positions in "
            f"one step where its declared cost allows {declared:,}; declare `encoder_passes` in "
            "`extra_cost`, or the budget would not be equal"
        )
