"""Does a small comparison predict a large one, and what is an objective worth in budget?

An extrapolation is a straight line in log2 of the budget for each objective. Three points leave one
degree of freedom each, so the deviation from the lines is estimated over all objectives together.

Decision accuracy is the share of pairs of objectives whose order is the same in both comparisons
(Magnusson et al. 2025, DataDecide). Its interval, and that of the budget ratio, are percentiles
over draws of the means from normal distributions with the variances between seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from bench.statistics.intervals import LEVEL

if TYPE_CHECKING:
    from jaxtyping import Float

REPEATS = 2_000


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, whose ends are NaN where it is unknown."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether its interval is known."""
        return not math.isnan(self.low)


def decision_accuracy(
    small: Float[np.ndarray, " K"],
    small_variance: Float[np.ndarray, " K"],
    large: Float[np.ndarray, " K"],
    large_variance: Float[np.ndarray, " K"],
) -> Estimate:
    """The share of pairs whose order is the same in a small and in a large comparison.

    The interval is about the order of the true means, which the observed means show with an error,
    so it need not be symmetric about the observed share.

    Args:
        small: Means of K objectives in the small comparison.
        small_variance: Their variances, of the means; NaN where one seed shows none.
        large: Means of the same objectives in the large comparison.
        large_variance: Their variances.

    Returns:
        The share; without an interval (NaN) if a variance is unknown.
    """
    value = float(_same_order(small[None], large[None])[0])
    if np.isnan([small_variance, large_variance]).any():
        return Estimate(value, math.nan, math.nan)
    draw = np.random.default_rng(0)
    shape = (REPEATS, len(small))
    drawn = small + draw.normal(size=shape) * np.sqrt(small_variance)
    other = large + draw.normal(size=shape) * np.sqrt(large_variance)
    low, high = np.percentile(_same_order(drawn, other), _tails())
    return Estimate(value, min(float(low), value), max(float(high), value))


def _same_order(a: Float[np.ndarray, "R K"], b: Float[np.ndarray, "R K"]) -> np.ndarray:
    i, j = np.triu_indices(a.shape[1], 1)
    return np.asarray(((a[:, i] - a[:, j]) * (b[:, i] - b[:, j]) > 0).mean(axis=1))


def budget_ratio(
    budgets: Sequence[float],
    means: Float[np.ndarray, " B"],
    variances: Float[np.ndarray, " B"],
    target: float,
    target_variance: float,
) -> Estimate | None:
    """The share of the largest budget at which an objective reaches a score.

    Scores are interpolated linearly in log2 of the budget; the first crossing counts.

    Args:
        budgets: The budgets, rising.
        means: The objective's mean at each budget; NaN where it has none.
        variances: Their variances, of the means; NaN where one seed shows none.
        target: The score to reach: that of another objective at the largest budget.
        target_variance: Its variance.

    Returns:
        The share, whose high end is infinite where the score may never be reached; without an
        interval (NaN) if a variance is unknown. None if the means never reach the score.
    """
    value = _share(budgets, means, target)
    if not math.isfinite(value):
        return None
    if np.isnan([target_variance, *variances[np.isfinite(means)]]).any():
        return Estimate(value, math.nan, math.nan)
    draw = np.random.default_rng(0)
    drawn = means + draw.normal(size=(REPEATS, len(means))) * np.sqrt(variances)
    targets = target + draw.normal(size=REPEATS) * math.sqrt(target_variance)
    shares = [_share(budgets, one, goal) for one, goal in zip(drawn, targets, strict=True)]
    low, high = np.quantile(np.array(shares), np.array(_tails()) / 100, method="nearest")
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def extrapolate(
    budgets: Sequence[float], means: Float[np.ndarray, "K B"], target: float
) -> list[Estimate]:
    """The score of each objective at a larger budget, with the 95 % prediction interval.

    Args:
        budgets: The B budgets, rising, at least three.
        means: The means of K objectives at each budget.
        target: The budget of the prediction.
    """
    x = np.log2(np.array(budgets))
    design = np.stack([np.ones_like(x), x], axis=1)
    lines, *_ = np.linalg.lstsq(design, means.T, rcond=None)
    freedom = len(means) * (len(x) - 2)
    variance = float(((means.T - design @ lines) ** 2).sum()) / freedom
    at = np.array([1.0, math.log2(target)])
    leverage = float(at @ np.linalg.inv(design.T @ design) @ at)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance * (1 + leverage))
    return [Estimate(value, value - half, value + half) for value in (at @ lines).tolist()]


def _share(budgets: Sequence[float], means: np.ndarray, target: float) -> float:
    """The share of the largest budget at the first crossing; infinite without one."""
    known = [(b, m) for b, m in zip(budgets, means.tolist(), strict=True) if not math.isnan(m)]
    for place, (budget, mean) in enumerate(known):
        if mean >= target:
            if place == 0:
                return budget / budgets[-1]
            before, score = known[place - 1]
            part = (target - score) / (mean - score)
            crossing = math.log2(before) + part * (math.log2(budget) - math.log2(before))
            return float(2**crossing / budgets[-1])
    return math.inf


def _tails() -> tuple[float, float]:
    return 100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2
