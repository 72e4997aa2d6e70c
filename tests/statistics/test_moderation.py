"""Moderated variances: by hand, in the limits, and their false alarms in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import polygamma

from bench.statistics.moderation import _inverse_trigamma, moderate
from bench.statistics.power import DifferenceVariance

INF = math.inf


def test_equal_spreads_are_pooled_and_the_degrees_are_those_of_all() -> None:
    (one,) = moderate([np.array([4.0, 4.0, 4.0])], [np.array([2.0, 2.0, 2.0])])
    assert one.variance.tolist() == pytest.approx([4.0, 4.0, 4.0])
    assert one.freedom.tolist() == [6.0, 6.0, 6.0]


def test_no_variance_is_below_its_own_and_small_ones_are_raised() -> None:
    own = np.array([1.0, 1.2, 0.8, 1.1, 9.0])
    (one,) = moderate([own], [np.full(5, 2.0)])
    assert (one.variance >= own).all()
    assert one.variance[2] > own[2]
    assert one.variance[4] == 9.0


def test_spreads_as_different_as_chance_allows_none_to_be_shared() -> None:
    rng = np.random.default_rng(0)
    wild = [np.exp(rng.normal(0, 4, 12)) for _ in range(10)]
    for before, after in zip(wild, moderate(wild, [np.full(12, 4.0)] * 10), strict=True):
        assert after.freedom.max() < 5.0  # 4 of its own, and hardly any of the others
        assert np.median(after.variance / before) < 1.3


def test_baselines_single_seeds_and_nothing_at_all() -> None:
    (one,) = moderate([np.array([np.nan, 2.0, 2.0, np.nan])], [np.array([INF, 2.0, 2.0, 0.0])])
    assert (one.variance[0], one.freedom[0]) == (0.0, INF)
    assert one.variance[3] == pytest.approx(2.0)  # the typical variance
    (none,) = moderate([np.array([np.nan, np.nan])], [np.array([0.0, INF])])
    assert none.variance.tolist() == [0.0, 0.0]
    (alone,) = moderate([np.array([3.0])], [np.array([2.0])])
    assert (alone.variance.tolist(), alone.freedom.tolist()) == ([3.0], [2.0])


def test_the_inverse_of_trigamma() -> None:
    for x in (0.1, 1.0, 7.5, 300.0):
        assert _inverse_trigamma(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)
    assert _inverse_trigamma(-1.0) == INF


@pytest.mark.parametrize("num_objectives", [3, 8])
@pytest.mark.parametrize("spread", ["equal", "unequal"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_false_alarms_of_null_pairs_stay_near_five_percent(
    num_objectives: int, spread: str, seeds: int
) -> None:
    rng = np.random.default_rng(seeds)
    tasks, repeats, alarms = 8, 150, []
    upper = np.triu_indices(num_objectives, 1)
    for _ in range(repeats):
        scale = np.full((tasks, num_objectives), 1.0)
        if spread == "unequal":
            scale = np.sqrt(4 / rng.chisquare(4, size=scale.shape))
        y = rng.normal(size=(tasks, num_objectives, seeds)) * scale[:, :, None]
        moderated = moderate(
            list(y.var(axis=2, ddof=1)), [np.full(num_objectives, seeds - 1.0)] * tasks
        )
        for values, one in zip(y, moderated, strict=True):
            for i, j in zip(*upper, strict=True):
                variance = DifferenceVariance(
                    float(one.variance[i] + one.variance[j]), 0.0, float(one.freedom[i]), seeds
                )
                gap = abs(values[i].mean() - values[j].mean())
                alarms.append(gap > variance.half_width(seeds))
    assert np.mean(alarms) < 0.07


def test_seeds_for_a_difference() -> None:
    variance = DifferenceVariance(seed=8.0, example=0.0, freedom=20.0, seeds=3)
    needed = variance.seeds_for(1.0)
    assert needed is not None
    assert variance.half_width(needed) <= 1.0 < variance.half_width(needed - 1)
    assert DifferenceVariance(8.0, 1.0, 20.0, 3).seeds_for(1.5) is None  # 1.96 by examples alone
    assert DifferenceVariance(1e-9, 0.0, 4.0, 3).seeds_for(1.0) == 2
