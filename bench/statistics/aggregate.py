"""One figure over many tasks: interquartile mean and mean rank, with intervals and letters.

Scores of unlike metrics are put on one scale first: 0 is what guessing scores (what the untrained
encoder scores, where a metric has no chance level) and 1 the best objective of that task. The
interquartile mean (Agarwal et al. 2021) of these drops the best and the worst quarter of the tasks,
so that no single one decides; the mean rank does without any scale. It is the mean of the ranks
among the runs of one seed: the rank of means never settles where objectives are equal, and an
interval around it held the truth in 75 % of simulated cases (5 seeds, 4 equal objectives).

The tasks are taken as given: the intervals are about other seeds and other examples, not about
other tasks. The seeds' part is the t interval of each seed's own figure, the examples' part a
bootstrap; they are joined as those of a single score.

A task in which no objective is separably above guessing would add noise divided by noise, and one
asked of a part of its examples (--limit) is another task: both are left out, and said to be. So is
an objective that lacks an answer the others have.
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
from bench.statistics.pairwise import letters

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

TRIMMED = 0.25
"""Share of the tasks cut off at either end."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What K objectives scored on one task."""

    name: str
    samples: Sequence[Sample]
    floor: float | int
    """What guessing scores; an integer is the objective that stands for it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aggregate:
    """K objectives over some tasks; the last axis of each pair is [interquartile mean, rank]."""

    name: str
    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    iqm: Float[np.ndarray, " K"]
    rank: Float[np.ndarray, " K"]
    """NaN for what is no competitor: the untrained."""
    half_widths: Float[np.ndarray, "K 2"]
    gap_widths: Float[np.ndarray, "K K"]
    """Half-widths of paired differences of the interquartile mean."""
    left_out: Mapping[str, str]
    """Task or objective -> why."""

    def of(self, name: str) -> tuple[Interval, Interval | None]:
        """Interquartile mean and mean rank of an row."""
        k = self.rows.index(name)
        found = []
        for mean, half in zip((self.iqm[k], self.rank[k]), self.half_widths[k], strict=True):
            found.append(
                Interval(float(mean), float(mean - half), float(mean + half), self.seeds[k])
            )
        return found[0], None if np.isnan(self.rank[k]) else found[1]

    def difference(self, name: str, other: str) -> Interval | None:
        """The paired difference of two interquartile means, where both have one."""
        if not {name, other} <= {*self.rows}:
            return None
        i, j = self.rows.index(name), self.rows.index(other)
        gap, half = float(self.iqm[i] - self.iqm[j]), float(self.gap_widths[i, j])
        return Interval(gap, gap - half, gap + half, min(self.seeds[i], self.seeds[j]))

    @property
    def num_ranks(self) -> int:
        """How many compete."""
        return int(np.isfinite(self.rank).sum())

    @functools.cached_property
    def letters(self) -> dict[str, str]:
        """Entries by the letters of those they are not separable from."""
        return dict(zip(self.rows, letters(self._separable, self.iqm), strict=True))

    @functools.cached_property
    def below(self) -> list[str]:
        """Entries separably below the highest of those that compete."""
        top = int(np.nanargmax(np.where(np.isnan(self.rank), np.nan, self.iqm)))
        is_below = self._separable[top] & (self.iqm < self.iqm[top])
        return [name for name, below in zip(self.rows, is_below, strict=True) if below]

    @functools.cached_property
    def _separable(self) -> Bool[np.ndarray, "K K"]:
        gaps = np.abs(self.iqm[:, None] - self.iqm)
        several = np.minimum.outer(self.seeds, self.seeds) > 1
        return np.asarray((gaps > self.gap_widths) & several)


def aggregated(
    name: str,
    tasks: Sequence[Task],
    rows: Sequence[str],
    is_rival: Sequence[bool],
    left_out: Mapping[str, str] | None = None,
) -> Aggregate:
    """Put objectives together over tasks all of them answered.

    Args:
        name: Of these tasks.
        tasks: Two or more.
        rows: The objectives, as each task's samples are ordered.
        is_rival: Which of them compete: the best and the ranks are among these.
        left_out: What is not in here, and why.
    """
    rivals, floors = np.asarray(is_rival), [task.floor for task in tasks]
    point = np.array([[sample.values.mean() for sample in task.samples] for task in tasks])
    scale = _scale(point[..., None], floors, rivals)
    found = _combined(point[..., None], scale, rivals)[..., 0]
    resampled = np.stack([_over_examples(task) for task in tasks])
    of_examples = _combined(resampled, _scale(resampled, floors, rivals), rivals)
    values = _by_seed(tasks)
    is_known = np.isfinite(values).all(axis=0)
    of_seeds = _combined(np.where(is_known, values, point[..., None]), scale, rivals)
    of_seeds = np.where(is_known, of_seeds, np.nan)
    gaps = [x[0, :, None] - x[0, None] for x in (of_seeds, of_examples)]
    return Aggregate(
        name=name,
        tasks=tuple(task.name for task in tasks),
        rows=tuple(rows),
        seeds=tuple(int(count) for count in is_known.sum(axis=1)),
        iqm=found[0],
        rank=np.where(rivals, _mean_over_seeds(of_seeds)[1], np.nan),
        half_widths=np.moveaxis(_half_width(of_seeds, of_examples), 0, -1),
        gap_widths=_half_width(*gaps),
        left_out=dict(left_out or {}),
    )


def _scale(
    scores: Float[np.ndarray, "T K R"],
    floors: Sequence[float | int],
    rivals: Bool[np.ndarray, " K"],
) -> Float[np.ndarray, "2 T 1 R"]:
    """What is 0, and how far from it 1 is."""
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
    """Interquartile means of the scaled scores, and mean ranks among the rivals."""
    iqm = trimmed_mean((scores - scale[0]) / scale[1])
    rank = np.zeros(iqm.shape)
    rank[rivals] = ranks(scores[:, rivals].round(12)).mean(axis=0)  # equal but for rounding
    return np.stack([iqm, rank])


def trimmed_mean(scaled: Float[np.ndarray, " T *R"]) -> Float[np.ndarray, "*R"]:
    """The mean over tasks without a quarter of them at either end.

    As scipy.stats.trim_mean and rankdata do; importing scipy.stats would load torch, because it
    looks into every array library there is.
    """
    cut = int(TRIMMED * len(scaled))
    return np.asarray(np.sort(scaled, axis=0)[cut : len(scaled) - cut].mean(axis=0))


def ranks(scores: Float[np.ndarray, "T K R"]) -> Float[np.ndarray, "T K R"]:
    """1 for the highest of each task; equals share the middle of their places."""
    found = np.empty(scores.shape)
    count = np.min_scalar_type(2 * scores.shape[1])
    for k in range(scores.shape[1]):
        own = scores[:, k : k + 1]
        above = (scores > own).sum(axis=1, dtype=count)
        above += (scores >= own).sum(axis=1, dtype=count)
        found[:, k] = (above + 1.0) / 2
    return found


def _by_seed(tasks: Sequence[Task]) -> Float[np.ndarray, "T K S"]:
    """Each seed's value; NaN where an objective lacks it."""
    union = sorted({seed for task in tasks for sample in task.samples for seed in sample.seeds})
    found = np.full((len(tasks), len(tasks[0].samples), len(union)), np.nan)
    for t, task in enumerate(tasks):
        for k, sample in enumerate(task.samples):
            found[t, k, [union.index(seed) for seed in sample.seeds]] = sample.values
    return found


def _over_examples(task: Task) -> Float[np.ndarray, "K R"]:
    """Means under resampled examples, each objective's seeds as they are."""
    found = np.empty((len(task.samples), REPEATS))
    kinds: dict[str | None, list[int]] = {}
    for k, sample in enumerate(task.samples):
        kinds.setdefault(sample.examples, []).append(k)
    for members in kinds.values():
        samples = [task.samples[k] for k in members]
        known = [sample.outcomes.mean(axis=0) for sample in samples if sample.outcomes is not None]
        if len(known) == len(samples):
            found[members] = resampled_means(f"examples of {task.name}", np.stack(known))
            continue
        for k, sample in zip(members, samples, strict=True):  # no outcomes: by its sampling error
            error = float((sample.stderrs**2).mean() ** 0.5)
            drawn = resampled_means(f"error of {task.name} {k}", _UNIT)[0]
            found[k] = sample.values.mean() + error * drawn
    return found


_UNIT = np.where(np.arange(400) % 2, 20.0, -20.0)[None]
"""400 numbers whose resampled mean has mean zero and variance one."""


def _mean_over_seeds(of_seeds: Float[np.ndarray, "*K S"]) -> Float[np.ndarray, "*K"]:
    count = np.isfinite(of_seeds).sum(axis=-1)
    return np.asarray(np.nansum(of_seeds, axis=-1) / np.maximum(count, 1))


def _half_width(
    of_seeds: Float[np.ndarray, "*K S"], of_examples: Float[np.ndarray, "*K R"]
) -> Float[np.ndarray, "*K"]:
    """Both variances joined as in `interval_of_values`."""
    count = np.isfinite(of_seeds).sum(axis=-1)
    freedom = np.maximum(count - 1, 1)
    mean = _mean_over_seeds(of_seeds)[..., None]
    variance = np.nansum((of_seeds - mean) ** 2, axis=-1) / freedom / np.maximum(count, 1)
    by_seeds = stdtrit(freedom, (1 + LEVEL) / 2) ** 2 * variance
    by_examples = stdtrit(np.inf, (1 + LEVEL) / 2) ** 2 * of_examples.var(axis=-1, ddof=1)
    return np.asarray(np.sqrt(by_seeds + by_examples))
