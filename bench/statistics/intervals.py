"""Interval statistics over pretraining seeds and test examples.

A score varies for two reasons: another pretraining seed gives other weights, and another sample of
test examples gives other outcomes. All seeds are scored on the same examples, so more seeds never
reduce the second part. With outcomes y[s, e] of n seeds and m examples, the two-way crossed model
without replication (Searle, Casella & McCulloch 1992, Variance Components, ch. 4)

    y[s, e] = mean + seed[s] + example[e] + residual[s, e]

has three variances of the grand mean, each an observed mean square:

    V_seed     = s^2(seed means) / n           contains the seed part and the residual / (n m)
    V_example  = s^2(example means) / m        contains the example part and the residual / (n m)
    V_residual = s^2(residuals) / (n m)        contained in both, so subtracted once

The 95 % half-width h is, with t at n - 1 and m - 1 degrees of freedom (Banerjee 1960, Sankhya 22,
357: a sum of t^2 V terms has at least the nominal coverage),

    h^2 = t(n-1)^2 V_seed + t(m-1)^2 max(V_example - V_residual, 0),  at least t(m-1)^2 V_example

so the interval is never narrower than the t-interval over seeds, nor than the sampling interval
over examples. Two alternatives were tried on null comparisons. Welch-Satterthwaite degrees of
freedom, the usual choice, have 11 % false positives with two seeds whose spread equals the sampling
error; this interval has 1 to 5 % for any number and any spread of seeds. The two-level bootstrap
(see `bench.statistics.bootstrap`) has 24 % with two seeds and 9 % with five.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from jaxtyping import Float

LEVEL = 0.95
_MOST_OUTCOMES = 1 << 14
"""Outcomes processed at once: as many as fit in the processor's cache."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean, or a mean difference, with its 95 % interval."""

    mean: float
    low: float
    high: float
    seeds: int
    """Number of pretraining seeds. 1: the interval covers test examples only. 0: a baseline."""
    half: float | None = None
    """Half of the interval before it was cut to the range of the metric."""

    @property
    def half_width(self) -> float:
        """Half the length of the interval, before it was cut to the range of the metric."""
        return (self.high - self.low) / 2 if self.half is None else self.half

    def within(self, lowest: float, highest: float) -> Interval:
        """The interval, cut to the range of its metric."""
        return dataclasses.replace(
            self,
            low=max(self.low, min(lowest, self.mean)),
            high=min(self.high, max(highest, self.mean)),
            half=self.half_width,
        )

    def excludes(self, value: float) -> bool:
        """Whether the value lies outside the interval."""
        return value < self.low or value > self.high

    @property
    def is_significant(self) -> bool:
        """For a difference: zero lies outside the interval, and there is more than one seed.

        A difference from one seed is never significant, because the variance between seeds is
        unknown: where seeds vary, the interval of one seed excludes zero in 14 to 48 % of null
        comparisons.
        """
        return self.seeds != 1 and self.excludes(0.0)

    @property
    def minimum_detectable_difference(self) -> float:
        """Minimum detectable difference (95 % level, 50 % power); a lower bound with one seed."""
        return self.half_width


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """The scores of one objective on one task, by seed."""

    seeds: tuple[int, ...]
    """One seed per row; empty for a baseline, which has one row and no seed."""
    values: Float[np.ndarray, " n"]
    stderrs: Float[np.ndarray, " n"]
    """Standard errors of the values over examples."""
    examples: str | None = None
    """A fingerprint of the examples; None if the values are not means over examples."""
    outcomes: Float[np.ndarray, "n m"] | None = None

    def rows(self, seeds: tuple[int, ...]) -> list[int]:
        """The rows of the seeds; the only row of a baseline counts for every seed."""
        return [self.seeds.index(seed) if self.seeds else 0 for seed in seeds]


@dataclasses.dataclass(frozen=True)
class Spread:
    """A mean over seeds and examples, and the variances of that mean."""

    mean: float
    seed: float
    """Between seeds; 0 with one seed."""
    example: float
    """Between examples, minus the residual."""
    floor: float
    """The same with the residual: the minimum variance of an interval."""
    freedom: float
    """Degrees of freedom of the example part."""
    seeds: int

    def interval(self, seed: float | None = None, seed_freedom: float | None = None) -> Interval:
        """The interval, with the moderated variance between seeds if it is given."""
        over_examples = _t(self.freedom) ** 2
        squared = over_examples * self.floor
        if self.seeds > 1 or seed is not None:
            of_seeds = self.seed if seed is None else seed
            t_of_seeds = _t(max(self.seeds - 1, 1) if seed_freedom is None else seed_freedom)
            squared = max(t_of_seeds**2 * of_seeds + over_examples * self.example, squared)
        return _around(self.mean, squared, self.seeds)


def interval_of_outcomes(outcomes: Float[np.ndarray, "n m"]) -> Interval:
    """The interval of the grand mean of per-example outcomes (or of their differences).

    With one seed it is mean +- t(m-1) sqrt(V_example). If all outcomes are equal, V_example is that
    of a single example that differs by one unit, 1 / m^2: 20 correct of 20 is not certainty.

    Raises:
        ValueError: Fewer than two examples, or a value that is not finite.
    """
    return spreads_of_outcomes(outcomes[None])[0].interval()


def spreads_of_outcomes(outcomes: Float[np.ndarray, "K n m"]) -> list[Spread]:
    """The means and variances of K objectives at once, as a table has thousands of cells.

    Raises:
        ValueError: Fewer than two examples, or a value that is not finite.
    """
    (num_rows, num_seeds, num_examples) = outcomes.shape
    if num_seeds < 1 or num_examples < 2 or not np.isfinite(outcomes).all():
        raise ValueError(f"need finite outcomes of two examples, got shape {outcomes.shape[1:]}")
    means = outcomes.reshape(num_rows, -1).mean(axis=1)
    example_means = outcomes.mean(axis=1)
    floor = example_means.var(axis=1, ddof=1) / num_examples
    floor[np.ptp(example_means, axis=1) == 0.0] = 1.0 / num_examples**2
    var_seed, example = np.zeros(num_rows), floor
    if num_seeds > 1:
        seed_means = outcomes.mean(axis=2)
        var_seed = seed_means.var(axis=1, ddof=1) / num_seeds
        residuals = outcomes - seed_means[:, :, None]
        residuals -= (example_means - means[:, None])[:, None]
        free = (num_seeds - 1) * (num_examples - 1)
        sums = (residuals**2).reshape(num_rows, -1).sum(axis=1)
        example = np.maximum(floor - sums / free / (num_seeds * num_examples), 0.0)
    rows = zip(*(part.tolist() for part in (means, var_seed, example, floor)), strict=True)
    return [
        Spread(*row, freedom=float(num_examples - 1), seeds=num_seeds)  # type: ignore[misc]
        for row in rows
    ]


def interval_of_values(
    values: Float[np.ndarray, " n"], stderrs: Float[np.ndarray, " n"]
) -> Interval:
    """The interval of a mean over seeds of values that are not means over examples (span F1).

    h^2 = t(n-1)^2 s^2(values) / n + z^2 mean(stderr^2). The sampling error is not divided by n,
    because all seeds share their examples. It also contains the residual, which cannot be
    separated here, so the interval is conservative. With one seed h = z stderr.
    """
    return _spread_of_values(values, stderrs).interval()


def _spread_of_values(values: np.ndarray, stderrs: np.ndarray) -> Spread:
    count, sampling = len(values), float((stderrs**2).mean())
    seed = float(values.var(ddof=1)) / count if count > 1 else 0.0
    return Spread(float(values.mean()), seed, sampling, sampling, math.inf, count)


def spreads(samples: Sequence[Sample]) -> list[Spread]:
    """The mean of each sample and its variances, from outcomes where there are any."""
    known: dict[int, Spread] = {}
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, sample in enumerate(samples):
        if sample.outcomes is not None and sample.outcomes.shape[1] > 1:
            by_shape.setdefault(sample.outcomes.shape, []).append(place)
        else:
            known[place] = _spread_of_values(sample.values, sample.stderrs)
    for (num_seeds, num_examples), places in by_shape.items():
        at_once = max(1, _MOST_OUTCOMES // (num_seeds * num_examples))
        for first in range(0, len(places), at_once):
            some = places[first : first + at_once]
            stacked = np.stack([np.asarray(samples[place].outcomes) for place in some])
            known |= zip(some, spreads_of_outcomes(stacked), strict=True)
    return [
        dataclasses.replace(known[place], seeds=len(sample.seeds))
        for place, sample in enumerate(samples)
    ]


def paired_difference(sample: Sample, baseline: Sample) -> Interval | None:
    """The mean of sample - baseline, paired by seed and, where outcomes align, by example.

    With outcomes on the same examples it is `interval_of_outcomes` of the differences, in which
    effects of an example or a seed that are common to both cancel. Otherwise it is
    `interval_of_values` of the differences of values with the squared stderrs added. The latter is
    not paired by example, and is wider if the same examples are hard for both.

    Returns:
        The interval over the common seeds, or None if there are none.
    """
    seeds = common_seeds(sample, baseline)
    if seeds is None:
        return None
    ours, theirs = sample.rows(seeds or (0,)), baseline.rows(seeds or (0,))
    aligned = align(sample, baseline)
    if aligned is not None:
        interval = interval_of_outcomes(aligned[0][ours] - aligned[1][theirs])
    else:
        interval = interval_of_values(
            sample.values[ours] - baseline.values[theirs],
            np.hypot(sample.stderrs[ours], baseline.stderrs[theirs]),
        )
    return dataclasses.replace(interval, seeds=len(seeds))


def common_seeds(sample: Sample, baseline: Sample) -> tuple[int, ...] | None:
    """The common seeds; a baseline has every seed. `()` for two baselines, None without any."""
    if not sample.seeds or not baseline.seeds:
        return sample.seeds or baseline.seeds
    return tuple(seed for seed in sample.seeds if seed in baseline.seeds) or None


def align(sample: Sample, baseline: Sample) -> tuple[np.ndarray, np.ndarray] | None:
    """The outcomes of both, if they are on the same examples (two or more)."""
    if sample.outcomes is None or baseline.outcomes is None or sample.outcomes.shape[1] < 2:
        return None
    if sample.examples != baseline.examples:
        return None
    return sample.outcomes, baseline.outcomes


def _around(center: float, squared_half_width: float, seeds: int) -> Interval:
    half = math.sqrt(squared_half_width)
    return Interval(center, center - half, center + half, seeds)


def _t(freedom: float) -> float:
    """The two-sided quantile of Student's t at LEVEL."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))
