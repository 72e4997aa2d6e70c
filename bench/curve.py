"""The budgets of a curve: what score over budget is measured at, and what that costs.

Every point is a complete pretraining of its own, with its own warm-up and decay. A checkpoint from
the middle of a longer run would understate what a run of that length gives, since its learning rate
has not come down. Branches off one run at a constant rate would cost less, but objectives that
change on the way (a schedule of rates, `biphasic`) do something else at one half of a long run than
at the end of a short one, so they have no trunk in common; and what is no complete run could stand
in no table of its own budget.

Halving makes that cheap: N points cost 2 - 2^(1 - N) times the longest run, 1.875 times for four.
Branches would cost 1 + d (1 - 2^(1 - N)) times, where d is the share of a run that decays: 1.35
times for four at the usual 0.4.
"""

from __future__ import annotations

import dataclasses

from bench.errors import BenchError
from bench.plan import Budget

MOST_POINTS = 16
LEAST_STEPS = 20
"""Of a point: with fewer, a warm-up over 5 % of the budget is not even one step."""


def halvings(budget: Budget, points: int) -> list[Budget]:
    """The budgets of a curve, the longest first, each half of the one before.

    Raises:
        BenchError: Not a number of points, or too many of them.
    """
    if not 1 <= points <= MOST_POINTS:
        raise BenchError(
            f"--curve {points}: give the number of budgets, 2 to {MOST_POINTS}; --curve 4 adds a "
            "half, a quarter and an eighth of the budget"
        )
    return [dataclasses.replace(budget, amount=budget.amount / 2**k) for k in range(points)]


def share_of_longest(points: int) -> float:
    """What all points cost together, as a multiple of the longest."""
    return 2.0 - 2.0 ** (1 - points)


def check_steps(points: int, tokens: float, batch_tokens: int) -> None:
    """Refuse a curve whose shortest run is too short to be one.

    Args:
        points: Of the curve.
        tokens: About what the longest run reads.
        batch_tokens: Tokens of a step.

    Raises:
        BenchError: It is; says how many points there can be.
    """
    steps = tokens / batch_tokens
    if points > 1 and steps / 2 ** (points - 1) < LEAST_STEPS:
        possible = next((n for n in range(points, 1, -1) if steps / 2 ** (n - 1) >= LEAST_STEPS), 0)
        way_out = f"--curve {possible} at most, or a" if possible else "a"
        raise BenchError(
            f"--curve {points}: its shortest run is about {steps / 2 ** (points - 1):.0f} steps of "
            f"{batch_tokens:,} tokens, and {LEAST_STEPS} are the least; {way_out} larger --budget"
        )
