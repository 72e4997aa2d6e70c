"""The rule of a race drops the best objective in at most five percent of races."""

from __future__ import annotations

import numpy as np
import pytest

from bench.statistics.moderation import moderate
from bench.statistics.power import DifferenceVariance
from bench.statistics.race import ALPHA, dropped, tail


def test_all_looks_together_spend_alpha() -> None:
    spent = sum(tail(look, 5) * 4 for look in range(1, 10_000))
    assert spent == pytest.approx(ALPHA, rel=1e-3)
    assert spent <= ALPHA


def test_only_what_is_far_below_the_highest_is_dropped() -> None:
    variance = DifferenceVariance(seed=1.0, example=0.0, freedom=30.0, seeds=4)
    assert dropped([10.0, 9.5, 2.0], lambda i, j: variance, 1, 3) == [2]
    assert dropped([5.0, 5.0], lambda i, j: variance, 1, 2) == []


def race(y: np.ndarray, budget: int) -> list[int]:
    """The objectives that are left; y has the score of each objective and seed."""
    count, most = y.shape
    alive, seeds, look = list(range(count)), np.full(count, 2), 0
    while True:
        look += 1
        variances = np.array([y[k, : seeds[k]].var(ddof=1) for k in range(count)])
        (one,) = moderate([variances], [seeds - 1.0])
        means = [float(y[k, : seeds[k]].mean()) for k in alive]

        def variance(i: int, j: int) -> DifferenceVariance:
            a, b = alive[i], alive[j]  # noqa: B023  # called at once
            both = float(one.variance[a] + one.variance[b])  # noqa: B023
            return DifferenceVariance(both, 0.0, float(one.freedom[a]), int(seeds[a]))  # noqa: B023

        losers = dropped(means, variance, look, count)
        alive = [k for i, k in enumerate(alive) if i not in losers]
        if len(alive) < 2 or seeds.sum() + len(alive) > budget or seeds[alive[0]] >= most:
            return alive
        seeds[alive] += 1


@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("lead", [0.0, 0.5])
def test_the_best_is_dropped_in_at_most_five_percent(count: int, lead: float) -> None:
    rng = np.random.default_rng(count)
    wrong, repeats = 0, 300
    for _ in range(repeats):
        spread = np.sqrt(4 / rng.chisquare(4, size=count))
        y = rng.normal(size=(count, 8)) * spread[:, None]
        y[0] += lead
        wrong += 0 not in race(y, count * 5)
    assert wrong / repeats <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / repeats) ** 0.5


def test_a_race_finds_a_clear_leader_at_half_the_cost() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(10, 6)) - 4.0 * np.arange(10)[:, None]
    assert race(y, 25) == [0]
