"""The costs of a run on all four axes: tokens, predictions, FLOPs and seconds.

FLOPs are analytic, and a multiply-add counts as two, because `FlopCounterMode` counts 0 for
attention on a CPU. Under the MATH backend both agree, which a test checks. Attention counts as
full for every pattern. The backward pass costs twice as much as the forward pass.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.spec import Budget, EncoderShape

TRAINING_FACTOR = 3
"""The forward pass, and twice its cost for the backward pass."""
ENDLESS_STEPS = 100
"""Number of steps without a prediction after which a budget in predictions is refused."""
MOST_PREDICTIONS = 100
"""Predictions for each token read above which a count is no count."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of an objective in addition to the encoder: forward FLOPs and parameters."""

    flops_per_prediction: float = 0.0
    flops_per_position: float = 0.0
    parameters: int = 0
    encoder_passes: int = 1
    """Forward passes of the encoder over the batch in one training step."""


def encoder_parameters(shape: EncoderShape) -> int:
    """Number of parameters of the shared encoder, embeddings included."""
    width, mlp = shape.hidden_size, shape.mlp_size
    layer = 4 * width * width + 3 * width * mlp + 2 * width
    # Layer 0 has no attention norm. The embedding norm and the final norm are outside the layers.
    return shape.vocab_size * width + shape.num_layers * layer + width


def encoder_row_flops(shape: EncoderShape, length: int) -> float:
    """Forward FLOPs of one row of `length` positions."""
    width, mlp = shape.hidden_size, shape.mlp_size
    matrices = 2.0 * length * (4 * width * width + 3 * width * mlp)
    attention = 4.0 * length * length * width
    return shape.num_layers * (matrices + attention)


def step_flops(encoder_flops: float, cost: Cost, positions: int, slots: int | float) -> float:
    """Training FLOPs of an optimizer step.

    Args:
        encoder_flops: FLOPs of one forward pass of the encoder over the batch.
        cost: Additional cost of the objective.
        positions: Positions of all rows in the step.
        slots: Positions whose logits are computed, unused slots included.
    """
    forward = (
        cost.encoder_passes * encoder_flops
        + positions * cost.flops_per_position
        + slots * cost.flops_per_prediction
    )
    return TRAINING_FACTOR * forward


@dataclasses.dataclass
class Ledger:
    """The costs of one run so far."""

    tokens: int = 0
    """Tokens read, with special tokens and without padding."""
    predictions: int = 0
    """Tokens predicted."""
    flops: float = 0.0
    seconds: float = 0.0
    """Training time, without validation and without writing checkpoints."""
    steps: int = 0
    empty_steps: int = 0
    """Steps without a prediction, and therefore without an update."""

    def progress(self, budget: Budget) -> float:
        """Share of the budget spent, 0 to 1."""
        return min(1.0, float(getattr(self, budget.axis)) / budget.amount)


@dataclasses.dataclass(frozen=True)
class Progress:
    """The state of a run after a step, for a progress bar."""

    share: float
    """Share of the budget spent, 0 to 1."""
    step: int
    nats: float
    """Mean training loss of the step."""
    tokens: int
    tokens_per_second: float


def check_passes(measured: int, declared: int, name: str) -> None:
    """Refuse an objective whose encoder passes exceed its declared cost.

    Fewer positions than declared are accepted: the objective then pays for positions that it does
    not use.

    Args:
        measured: Positions that the encoder processed in a step.
        declared: Positions that the ledger charges for the step.
        name: Name of the objective.

    Raises:
        BenchError: The encoder processed more positions than the ledger charges.
    """
    if measured > declared:
        raise BenchError(
            f"objective {name!r} broke its contract: the encoder processed {measured:,} positions "
            f"in one step, but the declared cost allows {declared:,}; declare `encoder_passes` in "
            "`extra_cost`, so that all objectives get an equal budget"
        )


def check_predictions(ledger: Ledger, budget: Budget, display_name: str) -> None:
    """Refuse counts that no objective can have, and a budget that would never be spent.

    Raises:
        BenchError: The number of predictions is below 0 or absurd, or the budget is in predictions
            and none of the first `ENDLESS_STEPS` steps had one.
    """
    if not 0 <= ledger.predictions <= MOST_PREDICTIONS * ledger.tokens or ledger.flops < 0:
        raise BenchError(
            f"objective {display_name!r} broke its contract: it counts {ledger.predictions} "
            f"predictions and {ledger.flops:.3g} FLOPs for {ledger.tokens} tokens read; `Loss` "
            "takes the number of predicted tokens"
        )
    if budget.axis == "predictions" and ledger.empty_steps == ledger.steps == ENDLESS_STEPS:
        raise BenchError(
            f"objective {display_name!r} predicted nothing in {ENDLESS_STEPS} steps, so a budget "
            "in predictions would never end; raise its rate or use another axis, such as tokens"
        )
