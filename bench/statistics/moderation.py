"""Moderated seed variances: what the spread of all objectives says about the spread of one.

With three seeds the seed part of an interval uses t(2) = 4.30, and the seed part is nearly all of
it. The spreads of K objectives on one task are alike, though not equal, so each is estimated better
with the others in view (empirical Bayes; Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3, 3): with d
degrees of freedom of its own, a variance s^2 becomes

    moderated = (d0 s0^2 + d s^2) / (d0 + d),   and at least s^2 itself,   with d0 + d degrees

s0^2 is the typical variance of the task; d0, common to all tasks, says how alike the spreads of
objectives are, and both are estimated from the logarithms of the variances. The degrees are at
most those of all K variances together, because s0^2 is itself an estimate. "At least s^2 itself"
protects objectives that vary more than others: without it, a pair of two such objectives raises a
false alarm in up to 17 % of null comparisons, with it in up to 9 % (tests/benchmarks/power.py).

The seed part of a difference is the sum of both variances. Pairing by seed would estimate it from
n - 1 differences, and seeds of two objectives are nearly uncorrelated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import polygamma, psi

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class SeedVariance:
    """The moderated variance between seeds of K objectives on one task."""

    variance: Float[np.ndarray, " K"]
    """Of one seed; 0 for a baseline, which has none."""
    freedom: Float[np.ndarray, " K"]
    """Degrees of freedom; infinite for a baseline."""


def moderate(
    variances: Sequence[Float[np.ndarray, " K"]],
    freedoms: Sequence[Float[np.ndarray, " K"]],
    is_pooled: Sequence[np.ndarray] | None = None,
) -> list[SeedVariance]:
    """Moderate the variances between seeds, task by task.

    Args:
        variances: For each task the variance between seeds of each objective; NaN with fewer than
            two seeds, which gets the typical variance of the task.
        freedoms: Their degrees of freedom, the number of seeds - 1; 0 with fewer than two seeds,
            and infinite for a baseline without seeds.
        is_pooled: Which objectives the typical variance and `d0` are estimated from; the others,
            such as untrained encoders, are moderated alike. Default: all.
    """
    pools = is_pooled or [np.ones(len(own), dtype=bool) for own in variances]
    usable = [
        pool & np.isfinite(own) & (own > 0) & (free > 0) & np.isfinite(free)
        for own, free, pool in zip(variances, freedoms, pools, strict=True)
    ]
    logs = [
        _log_variance(own[use], free[use])
        for own, free, use in zip(variances, freedoms, usable, strict=True)
    ]
    prior = _prior_freedom(logs, [free[use] for free, use in zip(freedoms, usable, strict=True)])
    moderated = []
    for own, free, use, log in zip(variances, freedoms, usable, logs, strict=True):
        own_variance = np.where(np.isfinite(own), own, 0.0)
        if not use.any():  # nothing to learn from: the variances as they are
            moderated.append(SeedVariance(own_variance, np.maximum(free, 1.0)))
            continue
        typical = _typical(own[use], free[use], log, prior)
        known = np.where(np.isfinite(free), free, 0.0)
        shared = (
            typical
            if math.isinf(prior)
            else (prior * typical + known * own_variance) / (prior + known + (prior + known == 0))
        )
        most = float(free[use].sum())
        freedom = np.minimum(prior + known, most)
        is_baseline = np.isinf(free)
        moderated.append(
            SeedVariance(
                np.where(is_baseline, 0.0, np.maximum(own_variance, shared)),
                np.where(is_baseline, np.inf, np.maximum(freedom, 1.0)),
            )
        )
    return moderated


def _log_variance(
    variance: Float[np.ndarray, " N"], freedom: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Logarithms of variances, less their expectation for a true variance of one."""
    return np.asarray(np.log(variance) - psi(freedom / 2) + np.log(freedom / 2))


def _prior_freedom(logs: Sequence[np.ndarray], freedoms: Sequence[np.ndarray]) -> float:
    """d0: infinite if the variances of a task spread no more than equal variances would."""
    squares = sum(float(((log - log.mean()) ** 2).sum()) for log in logs if len(log) > 1)
    degrees = sum(len(log) - 1 for log in logs if len(log) > 1)
    if not degrees:
        return 0.0
    expected = float(
        np.mean(np.concatenate([polygamma(1, free / 2) for free in freedoms if len(free) > 1]))
    )
    return 2.0 * _inverse_trigamma(squares / degrees - expected)


def _typical(variance: np.ndarray, freedom: np.ndarray, log: np.ndarray, prior: float) -> float:
    """s0^2 of a task."""
    if math.isinf(prior):
        return float((variance * freedom).sum() / freedom.sum())
    if prior == 0.0:
        return 0.0
    return float(np.exp(log.mean() + psi(prior / 2) - np.log(prior / 2)))


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = value, by Newton's method (Smyth 2004, appendix); infinite at 0."""
    if value <= 0.0:
        return math.inf
    x = 0.5 + 1.0 / value
    for _ in range(60):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1.0 - trigamma / value) / float(polygamma(2, x))
        x += step
        if -step < 1e-10 * x:
            break
    return x
