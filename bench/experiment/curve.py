"""The budgets of a curve, which show score over budget.

Each point of a curve (`--curve N`) is a complete pretraining with its own warm-up and decay. A
checkpoint from the middle of a longer run understates what a run of that length gives, because its
learning rate has not decayed. Branches from one run at a constant learning rate would cost less,
but objectives that change with progress (rate schedules, objectives with two phases) do different
things at the half of a long run and at the end of a short one, so they have no common trunk.
Halving keeps the cost low: N points cost 2 - 2^(1 - N) times the longest run, 1.875 times for four.
"""

from __future__ import annotations

import dataclasses

from bench.errors import BenchError
from bench.spec import Budget

MAX_POINTS = 16
MIN_STEPS = 20
"""Steps of the shortest run of a curve: with fewer, 5 % of warm-up is less than one step."""


def halvings(budget: Budget, points: int) -> list[Budget]:
    """The budgets of a curve: the longest first, each half of the previous one.

    Raises:
        BenchError: Not a number of points from 1 to `MAX_POINTS`.
    """
    if not 1 <= points <= MAX_POINTS:
        raise BenchError(
            f"--curve {points}: give the number of budgets, 2 to {MAX_POINTS}; --curve 4 adds a "
            "half, a quarter and an eighth of the budget"
        )
    return [dataclasses.replace(budget, amount=budget.amount / 2**k) for k in range(points)]


def share_of_longest(points: int) -> float:
    """The cost of all points together, as a multiple of the longest run."""
    return 2.0 - 2.0 ** (1 - points)


def check_steps(points: int, tokens: float, batch_tokens: int) -> None:
    """Refuse a curve whose shortest run has fewer than `MIN_STEPS` steps.

    Args:
        points: Number of budgets of the curve.
        tokens: Approximate number of tokens that the longest run reads.
        batch_tokens: Tokens per step.

    Raises:
        BenchError: The shortest run is too short; names the largest possible number of points.
    """
    steps = tokens / batch_tokens
    if points > 1 and steps / 2 ** (points - 1) < MIN_STEPS:
        possible = next((n for n in range(points, 1, -1) if steps / 2 ** (n - 1) >= MIN_STEPS), 0)
        way_out = f"--curve {possible} at most, or a" if possible else "a"
        raise BenchError(
            f"--curve {points}: its shortest run is about {steps / 2 ** (points - 1):.0f} steps of "
            f"{batch_tokens:,} tokens, and the minimum is {MIN_STEPS}; give {way_out} larger "
            "--budget"
        )
