"""Aggregates over many tasks: interquartile mean and mean rank, with intervals and letters.

Scores of different metrics are normalised first: 0 is the chance level (or the score of the
untrained encoder, if a metric has no chance level), and 1 is the best objective of the task. The
interquartile mean of the normalised scores (Agarwal et al. 2021) drops the best and the worst
quarter of the tasks, so that no single task decides. The mean rank needs no scale. It is the mean
of the ranks among the runs of one seed. The rank of the means was tried: it does not converge where
objectives are equal, and its interval had a coverage of 75 % in a simulation (5 seeds, 4 equal
objectives).

The tasks are fixed: the intervals are about other seeds and other examples, not about other tasks.
The seed part is the t interval of the aggregates of single seeds, with variances moderated over the
objectives (`bench.statistics.moderation`); the example part is a bootstrap; they are combined like
those of a single score.

Two kinds of tasks are left out, and reported as such: a task in which no objective is significantly
above chance (it would add noise divided by noise), and a task scored on a part of its examples
(--limit), which is another task. An objective that lacks a score the others have is left out, too.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from bench.statistics.bootstrap import REPEATS, resampled_means
from bench.statistics.intervals import LEVEL, Interval, Sample
from bench.statistics.moderation import SeedVariance, moderate
from bench.statistics.pairwise import letters

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

TRIMMED = 0.25
"""Share of the tasks that is dropped at either end."""


@dataclasses.dataclass(frozen=True, eq=False)
class TaskScores:
    """The scores of K objectives on one task."""

    name: str
    samples: Sequence[Sample]
    floor: float | int
    """The score that counts as 0; an integer is the index of the objective with that score."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aggregate:
    """K objectives over some tasks; an axis of length 2 is [interquartile mean, rank]."""

    name: str
    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    iqm: Float[np.ndarray, " K"]
    rank: Float[np.ndarray, " K"]
    """Mean ranks; NaN for the untrained encoder, which is not ranked."""
    half_widths: Float[np.ndarray, "K 2"]
    gap_widths: Float[np.ndarray, "K K"]
    """Half-widths of the paired differences of interquartile means."""
    variance: SeedVariance
    """Of the interquartile means, between seeds."""
    example_gaps: Float[np.ndarray, "K K"]
    """Variances over test examples of the differences of interquartile means."""
    left_out: Mapping[str, str]
    """Task or objective -> reason why it is left out."""

    def of(self, name: str) -> tuple[Interval, Interval | None]:
        """Interquartile mean and mean rank of a row; no rank for the untrained encoder."""
        k = self.rows.index(name)
        intervals = []
        for mean, half in zip((self.iqm[k], self.rank[k]), self.half_widths[k], strict=True):
            intervals.append(
                Interval(float(mean), float(mean - half), float(mean + half), self.seeds[k])
            )
        return intervals[0], None if np.isnan(self.rank[k]) else intervals[1]

    def difference(self, name: str, other: str) -> Interval | None:
        """The paired difference of two interquartile means; None if a row is left out."""
        if not {name, other} <= {*self.rows}:
            return None
        i, j = self.rows.index(name), self.rows.index(other)
        gap, half = float(self.iqm[i] - self.iqm[j]), float(self.gap_widths[i, j])
        return Interval(gap, gap - half, gap + half, min(self.seeds[i], self.seeds[j]))

    @property
    def num_ranks(self) -> int:
        """Number of ranked objectives."""
        return int(np.isfinite(self.rank).sum())

    @functools.cached_property
    def letters(self) -> dict[str, str]:
        """Row -> letters; rows that share a letter are not significantly different."""
        return dict(zip(self.rows, letters(self._is_different, self.iqm), strict=True))

    @functools.cached_property
    def below(self) -> list[str]:
        """Rows significantly below the highest of the ranked objectives."""
        top = int(np.nanargmax(np.where(np.isnan(self.rank), np.nan, self.iqm)))
        is_below = self._is_different[top] & (self.iqm < self.iqm[top])
        return [name for name, below in zip(self.rows, is_below, strict=True) if below]

    @functools.cached_property
    def _is_different(self) -> Bool[np.ndarray, "K K"]:
        gaps = np.abs(self.iqm[:, None] - self.iqm)
        several = np.minimum.outer(self.seeds, self.seeds) > 1
        return np.asarray((gaps > self.gap_widths) & several)


def aggregate(
    name: str,
    tasks: Sequence[TaskScores],
    rows: Sequence[str],
    is_ranked: Sequence[bool],
    left_out: Mapping[str, str] | None = None,
    is_moderated: bool = True,
) -> Aggregate:
    """Aggregate the scores of objectives over tasks on which all of them have a score.

    Args:
        name: Name of this group of tasks.
        tasks: Two tasks or more.
        rows: The objectives, in the order of each task's samples.
        is_ranked: Which objectives are ranked; the best is one of these.
        left_out: Task or objective -> reason why it is left out.
        is_moderated: Whether variances between seeds are moderated over the objectives.
    """
    rivals, floors = np.asarray(is_ranked), [task.floor for task in tasks]
    point = np.array([[sample.values.mean() for sample in task.samples] for task in tasks])
    scale = _scale(point[..., None], floors, rivals)
    figures = _combined(point[..., None], scale, rivals)[..., 0]
    resampled = np.stack([_over_examples(task) for task in tasks])
    of_examples = _combined(resampled, _scale(resampled, floors, rivals), rivals)
    values = _by_seed(tasks)
    is_known = np.isfinite(values).all(axis=0)
    of_seeds = _combined(np.where(is_known, values, point[..., None]), scale, rivals)
    of_seeds = np.where(is_known, of_seeds, np.nan)
    count = is_known.sum(axis=1)
    is_fixed = np.array([not sample.seeds for sample in tasks[0].samples])
    variances = [_seed_variance(each, rivals, is_moderated, is_fixed) for each in of_seeds]
    return Aggregate(
        name=name,
        tasks=tuple(task.name for task in tasks),
        rows=tuple(rows),
        seeds=tuple(int(count) for count in is_known.sum(axis=1)),
        iqm=figures[0],
        rank=np.where(rivals, _mean_over_seeds(of_seeds)[1], np.nan),
        half_widths=np.stack(
            [
                _half_width(variance, count, examples)
                for variance, examples in zip(variances, of_examples, strict=True)
            ],
            axis=-1,
        ),
        gap_widths=_gap_width(variances[0], count, of_examples[0]),
        variance=variances[0],
        example_gaps=(of_examples[0][:, None] - of_examples[0]).var(axis=-1, ddof=1),
        left_out=dict(left_out or {}),
    )


def _scale(
    scores: Float[np.ndarray, "T K R"],
    floors: Sequence[float | int],
    rivals: Bool[np.ndarray, " K"],
) -> Float[np.ndarray, "2 T 1 R"]:
    """The score that counts as 0, and the distance from it to 1."""
    zero = np.stack(
        [score[floor] if isinstance(floor, int) else np.full(score.shape[1], floor)
         for score, floor in zip(scores, floors, strict=True)]
    )[:, None]  # fmt: skip
    reach = scores[:, rivals].max(axis=1, keepdims=True) - zero
    return np.stack([zero, np.where(reach == 0.0, 1.0, reach)])


def _combined(
    scores: Float[np.ndarray, "T K R"],
    scale: Float[np.ndarray, "2 T 1 R"],
    rivals: Bool[np.ndarray, " K"],
) -> Float[np.ndarray, "2 K R"]:
    """Interquartile means of the normalised scores, and mean ranks."""
    iqm = trimmed_mean((scores - scale[0]) / scale[1])
    rank = np.zeros(iqm.shape)
    rank[rivals] = ranks(scores[:, rivals].round(12)).mean(axis=0)  # ignore rounding errors
    return np.stack([iqm, rank])


def trimmed_mean(scaled: Float[np.ndarray, " T *R"]) -> Float[np.ndarray, "*R"]:
    """The mean over tasks without the quarter at either end.

    The result is that of scipy.stats.trim_mean. Importing scipy.stats would load torch, because
    scipy.stats inspects every array library.
    """
    cut = int(TRIMMED * len(scaled))
    return np.asarray(np.sort(scaled, axis=0)[cut : len(scaled) - cut].mean(axis=0))


def ranks(scores: Float[np.ndarray, "T K R"]) -> Float[np.ndarray, "T K R"]:
    """Ranks per task: 1 for the highest score; equal scores get their mean rank (as rankdata)."""
    placed = np.empty(scores.shape)
    count = np.min_scalar_type(2 * scores.shape[1])
    for k in range(scores.shape[1]):
        own = scores[:, k : k + 1]
        above = (scores > own).sum(axis=1, dtype=count)
        above += (scores >= own).sum(axis=1, dtype=count)
        placed[:, k] = (above + 1.0) / 2
    return placed


def _by_seed(tasks: Sequence[TaskScores]) -> Float[np.ndarray, "T K S"]:
    """The value of each seed; NaN if an objective lacks the seed, the same for all without one."""
    union = sorted({seed for task in tasks for sample in task.samples for seed in sample.seeds})
    values = np.full((len(tasks), len(tasks[0].samples), len(union)), np.nan)
    for t, task in enumerate(tasks):
        for k, sample in enumerate(task.samples):
            own = [union.index(seed) for seed in sample.seeds] or slice(None)
            values[t, k, own] = sample.values
    return values


def _over_examples(task: TaskScores) -> Float[np.ndarray, "K R"]:
    """Means over resampled examples and all seeds."""
    resampled = np.empty((len(task.samples), REPEATS))
    by_examples: dict[str | None, list[int]] = {}
    for k, sample in enumerate(task.samples):
        by_examples.setdefault(sample.examples, []).append(k)
    for members in by_examples.values():
        samples = [task.samples[k] for k in members]
        known = [sample.outcomes.mean(axis=0) for sample in samples if sample.outcomes is not None]
        if len(known) == len(samples):
            resampled[members] = resampled_means(f"examples of {task.name}", np.stack(known))
            continue
        for k, sample in zip(members, samples, strict=True):
            # Without outcomes, the replicates come from the standard error.
            error = float((sample.stderrs**2).mean() ** 0.5)
            drawn = resampled_means(f"error of {task.name} {k}", _UNIT)[0]
            resampled[k] = sample.values.mean() + error * drawn
    return resampled


_UNIT = np.where(np.arange(400) % 2, 20.0, -20.0)[None]
"""400 numbers whose resampled mean has expectation 0 and variance 1."""


def _mean_over_seeds(of_seeds: Float[np.ndarray, "*K S"]) -> Float[np.ndarray, "*K"]:
    count = np.isfinite(of_seeds).sum(axis=-1)
    return np.asarray(np.nansum(of_seeds, axis=-1) / np.maximum(count, 1))


def _half_width(
    variance: SeedVariance, count: Float[np.ndarray, " K"], of_examples: Float[np.ndarray, "K R"]
) -> Float[np.ndarray, " K"]:
    """Both variances combined as in `interval_of_values`."""
    by_seeds = stdtrit(variance.freedom, (1 + LEVEL) / 2) ** 2 * variance.variance
    by_examples = stdtrit(np.inf, (1 + LEVEL) / 2) ** 2 * of_examples.var(axis=-1, ddof=1)
    return np.asarray(np.sqrt(by_seeds / np.maximum(count, 1) + by_examples))


def _gap_width(
    variance: SeedVariance, count: Float[np.ndarray, " K"], of_examples: Float[np.ndarray, "K R"]
) -> Float[np.ndarray, "K K"]:
    """Half-widths of all differences: variances between seeds add up, examples are shared."""
    both = SeedVariance(
        np.add.outer(variance.variance, variance.variance),
        np.minimum.outer(variance.freedom, variance.freedom),
    )
    gaps = of_examples[:, None] - of_examples
    return _half_width(both, np.minimum.outer(count, count), gaps)


def _seed_variance(
    of_seeds: Float[np.ndarray, "K S"],
    rivals: Bool[np.ndarray, " K"],
    is_moderated: bool,
    is_fixed: Bool[np.ndarray, " K"],
) -> SeedVariance:
    """The variance of the aggregates of single seeds; none where an encoder has no seed."""
    count = np.isfinite(of_seeds).sum(axis=-1)
    mean = _mean_over_seeds(of_seeds)[..., None]
    with np.errstate(invalid="ignore"):
        variance = np.nansum((of_seeds - mean) ** 2, axis=-1) / np.maximum(count - 1, 1)
    freedom = np.maximum(count - 1.0, 0.0)
    freedom = np.where(is_fixed, np.inf, freedom)
    if not is_moderated:
        return SeedVariance(variance, np.maximum(freedom, 1.0))
    known = np.where((freedom > 0) & ~is_fixed, variance, np.nan)
    result = moderate([known], [freedom], [rivals])[0]
    alone = freedom == 0  # one seed says nothing, and gets no variance from the others
    return SeedVariance(np.where(alone, 0.0, result.variance), np.where(alone, 1.0, result.freedom))
