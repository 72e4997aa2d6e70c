"""All paired differences of a table column, Holm's correction, and the compact letter display.

The variances of a difference y[i] - y[j] are sums of squares, and |a - b|^2 = |a|^2 + |b|^2 - 2 ab.
So all pairs of K objectives cost one matrix product, where a loop over pairs costs K^2 passes over
seeds x examples. A test compares the result with `paired_difference`, pair by pair.

Two objectives are significantly different if the 95 % interval of their difference excludes zero.
Letters and `*` are therefore per pair, without a correction. Claims over many tasks are corrected
with Holm's method (1979, Scand. J. Statist. 6, 65). The p-value of a difference is the level at
which its interval just touches zero.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from bench.statistics.intervals import LEVEL, Interval, Sample, align, common_seeds
from bench.statistics.moderation import SeedVariance

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_PARTS = ("mean", "seed", "example", "floor", "seeds", "freedom", "seed_freedom")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The paired differences of K samples; NaN if two samples have no common seed or no score."""

    mean: Float[np.ndarray, "K K"]
    seed: Float[np.ndarray, "K K"]
    """Variance of the mean between seeds; 0 with one seed."""
    example: Float[np.ndarray, "K K"]
    """Variance of the mean between examples, minus the residual."""
    floor: Float[np.ndarray, "K K"]
    """The same with the residual: the minimum variance of an interval."""
    seeds: Float[np.ndarray, "K K"]
    freedom: Float[np.ndarray, "K K"]
    """Degrees of freedom of the example part."""
    seed_freedom: Float[np.ndarray, "K K"]
    """Degrees of freedom of the seed part."""

    def half_width(self, tail: float | np.ndarray = (1 - LEVEL) / 2) -> Float[np.ndarray, "K K"]:
        """Half the length of the intervals whose two tails have probability `tail` each."""
        over_examples = _quantile(self.freedom, 1 - tail) ** 2
        over_seeds = _quantile(self.seed_freedom, 1 - tail) ** 2
        both = over_seeds * self.seed + over_examples * self.example
        return np.asarray(np.sqrt(np.maximum(both, over_examples * self.floor)))

    def interval(self, ours: int, theirs: int) -> Interval | None:
        """The difference of one pair; None without a common seed or score."""
        mean, half = float(self.mean[ours, theirs]), float(self.half[ours, theirs])
        if np.isnan(mean):
            return None
        return Interval(mean, mean - half, mean + half, int(self.seeds[ours, theirs]))

    @functools.cached_property
    def half(self) -> Float[np.ndarray, "K K"]:
        """Half the lengths of the 95 % intervals."""
        return self.half_width()

    def part(self, ours: Sequence[int], theirs: Sequence[int]) -> Pairs:
        """The differences of the samples `ours` to the samples `theirs`."""
        places = np.ix_(ours, theirs)
        return Pairs(*(getattr(self, name)[places] for name in _PARTS))

    def significant(self) -> Bool[np.ndarray, "K K"]:
        """Where zero lies outside the interval, and there is more than one seed."""
        return np.asarray((np.abs(self.mean) > self.half) & (self.seeds != 1))

    def p_values(self) -> Float[np.ndarray, "K K"]:
        """The smallest two-sided level at which the interval excludes zero.

        NaN without a difference, and for one seed, because the variance between seeds is unknown.
        """
        gap = np.where(self.seeds == 1, np.nan, np.abs(self.mean))
        low, high = np.full(gap.shape, -40.0), np.zeros(gap.shape)  # log2 of the level
        for _ in range(30):
            middle = (low + high) / 2
            is_outside = gap > self.half_width(np.exp2(middle) / 2)
            low, high = np.where(is_outside, low, middle), np.where(is_outside, middle, high)
        return np.asarray(np.where(np.isnan(gap), np.nan, np.exp2(high)))


def concatenate(parts: Sequence[Pairs]) -> Pairs:
    """The differences of several columns side by side, for a joint test."""
    return Pairs(*(np.hstack([getattr(part, name) for part in parts]) for name in _PARTS))


def _quantile(freedom: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """Student's t; with one level it is computed once for each number of degrees of freedom."""
    if isinstance(level, np.ndarray):
        return np.asarray(stdtrit(freedom, level))
    kinds, places = np.unique(freedom, return_inverse=True)
    return np.asarray(stdtrit(kinds, level)[places].reshape(freedom.shape))


def paired_differences(
    samples: Sequence[Sample | None], moderated: SeedVariance | None = None
) -> Pairs:
    """The differences of all pairs of samples, equal to `paired_difference` of each pair.

    Args:
        samples: The samples.
        moderated: Their moderated variances between seeds; None: each pair's own variance.
    """
    arrays = {name: np.full((len(samples), len(samples)), np.nan) for name in _PARTS[:-1]}
    kinds: dict[tuple[object, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        if sample is not None:
            aligned = align(sample, sample) is not None
            kind = (sample.seeds, sample.examples if aligned else None, aligned)
            kinds.setdefault(kind, []).append(index)
    for ours, theirs in itertools.combinations_with_replacement(kinds.values(), 2):
        left = [sample for i in ours if (sample := samples[i])]
        right = left if theirs is ours else [sample for i in theirs if (sample := samples[i])]
        block = _block(left, right)
        if block is None:
            continue
        for name, values in block.items():
            sign = -1.0 if name == "mean" else 1.0
            arrays[name][np.ix_(theirs, ours)] = sign * np.transpose(values)
            arrays[name][np.ix_(ours, theirs)] = values
    seeds = arrays["seeds"]
    arrays["seed_freedom"] = np.maximum(seeds - 1, 1)
    if moderated is not None:
        both = moderated.variance[:, None] + moderated.variance
        freedom = np.minimum.outer(moderated.freedom, moderated.freedom)
        arrays["seed"] = np.where(seeds > 1, both / np.maximum(seeds, 1), arrays["seed"])
        arrays["seed_freedom"] = np.where(seeds > 1, freedom, arrays["seed_freedom"])
    return Pairs(**arrays)


def _block(ours: list[Sample], theirs: list[Sample]) -> dict[str, np.ndarray] | None:
    """The parts of the differences between samples of one kind and those of another kind."""
    seeds = common_seeds(ours[0], theirs[0])
    if seeds is None:
        return None
    rows, other_rows = ours[0].rows(seeds or (0,)), theirs[0].rows(seeds or (0,))
    if align(ours[0], theirs[0]) is not None:
        y = _stacked(ours, rows)
        parts = _of_outcomes(y, y if theirs is ours else _stacked(theirs, other_rows))
    else:
        values = [np.stack([s.values[rows] for s in ours])[:, None]]
        values.append(np.stack([s.values[other_rows] for s in theirs])[None])
        gaps = values[0] - values[1]
        sampling = np.stack([(s.stderrs[rows] ** 2).mean() for s in ours])[:, None]
        sampling = sampling + np.stack([(s.stderrs[other_rows] ** 2).mean() for s in theirs])
        parts = {"mean": gaps.mean(axis=2), "seed": _seed_variance(gaps)}
        parts |= {"example": sampling, "floor": sampling, "freedom": np.full_like(sampling, np.inf)}
    return parts | {"seeds": np.full(parts["mean"].shape, float(len(seeds)))}


def _stacked(samples: list[Sample], rows: list[int]) -> Float[np.ndarray, "A n m"]:
    known = [sample.outcomes for sample in samples if sample.outcomes is not None]
    is_whole = rows == list(range(len(known[0])))
    return np.stack(known if is_whole else [outcomes[rows] for outcomes in known])


def _of_outcomes(
    y: Float[np.ndarray, "A n m"], z: Float[np.ndarray, "B n m"]
) -> dict[str, np.ndarray]:
    """The mean squares of `interval_of_outcomes` for y[i] - z[j], all i and j."""
    (_, num_seeds, num_examples) = y.shape
    seeds, examples, residuals = _parts_of(y)
    seeds_z, examples_z, residuals_z = (seeds, examples, residuals) if z is y else _parts_of(z)
    squares = _squared_distances(examples, examples_z)
    floor = np.where(squares == 0.0, 1.0, squares / (num_examples - 1) * num_examples)
    floor /= num_examples**2
    free = max((num_seeds - 1) * (num_examples - 1), 1)
    residual = _squared_distances(residuals, residuals_z) / free / (num_seeds * num_examples)
    gaps = seeds[:, None] - seeds_z[None]
    return {
        "mean": gaps.mean(axis=2),
        "seed": _seed_variance(gaps),
        "example": floor if num_seeds == 1 else np.maximum(floor - residual, 0.0),
        "floor": floor,
        "freedom": np.full(floor.shape, num_examples - 1.0),
    }


def _parts_of(y: Float[np.ndarray, "A n m"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of seeds, deviations of examples, and residuals (which overwrite y)."""
    seeds, examples = y.mean(axis=2), y.mean(axis=1)
    grand = seeds.mean(axis=1)
    deviations = examples - grand[:, None]
    y -= seeds[:, :, None]
    y -= deviations[:, None]
    return seeds, deviations, y.reshape(len(y), -1)


def _seed_variance(gaps: Float[np.ndarray, "A B n"]) -> Float[np.ndarray, "A B"]:
    num_seeds = gaps.shape[2]
    if num_seeds == 1:
        return np.zeros(gaps.shape[:2])
    return np.asarray(gaps.var(axis=2, ddof=1) / num_seeds)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a[i] - b[j]|^2 by matrix products; results at the level of rounding errors become zero."""
    own = np.array([(row * row).sum() for row in a])  # row by row, to save memory
    lengths = own[:, None] + (own if b is a else np.array([(row * row).sum() for row in b]))
    distances = lengths - 2.0 * (a @ b.T)
    return np.where(distances <= 1e-12 * lengths, 0.0, distances)


def holm(p_values: Float[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Which tests are significant at a family-wise level of 5 % (Holm); NaN is not a test."""
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    thresholds = (1 - LEVEL) / np.arange(len(order), 0, -1)
    is_rejected = np.zeros(len(p_values), dtype=bool)
    is_rejected[order] = np.logical_and.accumulate(p_values[order] <= thresholds)
    return is_rejected


def letters(is_different: Bool[np.ndarray, "K K"], means: Float[np.ndarray, " K"]) -> list[str]:
    """Compact letter display: two share a letter if and only if they are not different.

    A letter is a set in which no two are different. It is grown from the best pair without a common
    letter, nearest ranks first. The textbook display uses all maximal sets, which can be
    exponentially many; here there is at most one letter per pair.

    Args:
        is_different: Which pairs are significantly different; symmetric.
        means: Means of the K objectives; letters are given in falling order of the mean.
    """
    order = np.argsort(-means, kind="stable")
    alike = ~is_different[np.ix_(order, order)]
    np.fill_diagonal(alike, True)
    left = np.triu(alike)  # pairs without a common letter
    left[np.diag_indices(len(left))] &= alike.sum(axis=1) == 1
    groups: list[list[int]] = []
    while left.any():
        first, second = map(int, divmod(int(left.argmax()), len(left)))
        group = [first] if first == second else [first, second]
        free = alike[first] & alike[second]
        free[group] = False
        nearest = np.argsort(np.abs(np.arange(len(order)) - (first + second) / 2), kind="stable")
        for other in nearest[free[nearest]].tolist():
            if free[other]:
                group.append(other)
                free &= alike[other]
                free[other] = False
        left[np.ix_(group, group)] = False
        groups.append(group)
    shown: list[str] = [""] * len(means)
    for number, group in enumerate(groups):
        letter = _LETTERS[number] if number < len(_LETTERS) else f"({number + 1})"
        for rank in group:
            shown[order[rank]] += letter
    return shown


def minimum_detectable_difference(
    pairs: Pairs, ours: Sequence[int], theirs: Sequence[int]
) -> float | None:
    """Minimum detectable difference (95 % level, 50 % power): the median half-width over pairs.

    A true difference of this size is significant in half of such experiments.

    Returns:
        The difference, or None if no pair has two seeds.
    """
    part = pairs.part(ours, theirs)
    is_other = np.not_equal.outer(np.asarray(ours), np.asarray(theirs))
    known = part.half[is_other & (part.seeds > 1)]
    return float(np.median(known)) if known.size else None


def signal_to_noise(
    means: Float[np.ndarray, " K"], variances: Float[np.ndarray, " K"]
) -> float | None:
    """The spread between objectives over the spread between seeds.

    Args:
        means: Means over seeds of K objectives.
        variances: Their variances between seeds, each of one seed.

    Returns:
        The standard deviation of the means divided by the typical standard deviation of a seed;
        None with fewer than two objectives, or without any spread between seeds.
    """
    noise = float(variances.mean()) if len(variances) else 0.0
    return float(means.std(ddof=1) / noise**0.5) if len(means) > 1 and noise > 0 else None
