"""Where one objective passes another on the way to a larger budget, and how well that is known.

Between the budgets that were run, outcomes are interpolated linearly in log2 of the budget, seed
by seed and example by example, so that the difference of two objectives has an interval at any
budget (see `statistics`). A crossing is shown where the difference is separable at one budget and,
the other way round, at a later one, over all budgets of the curve together (Bonferroni). Its 95 %
interval is made of the budgets at which the two are not separable (Fieller 1954, J. R. Statist.
Soc. B 16, 175). A bootstrap over seeds is the usual choice and was not taken: from two to five
seeds its intervals are too short (see `bootstrap`); these are as wide as all others here.

Simulated, 400 times each with 2, 3 and 5 seeds, four budgets and 150 examples: a crossing is shown
of none of the curves that are equal or parallel, and of 0.3 to 0.5 % of those that are equal at
three budgets and apart at the last. Of the curves that cross, the interval holds the true budget in
95 to 98 % (3 and 5 seeds; with 2 few crossings are shown at all).

Where only one side is separable, the interval has one end and no crossing is shown: curves that
start out equal and then part look like that in 7 to 49 % of the cases (2 to 5 seeds).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.statistics.intervals import LEVEL, Interval, Sample, common_seeds, paired_difference
from bench.statistics.pairwise import Pairs, holm, paired_differences

if TYPE_CHECKING:
    from jaxtyping import Float

_STEPS = 16
"""Budgets looked at between two that were run, to find the ends of an interval."""


@dataclasses.dataclass(frozen=True)
class Crossing:
    """One objective ahead at smaller budgets, another at larger ones."""

    before: str
    """Ahead at smaller budgets."""
    after: str
    """Ahead at larger ones."""
    at: float
    """The budget at which the means are equal."""
    low: float | None
    high: float | None
    """None where the difference is not separable on that side: no crossing is shown."""
    settled: int
    """Place of the budget at which the difference is separable for the last time."""
    p: float
    """The level at which it would just be shown; 1 where it is not."""
    stands: bool = False
    """Shown at 5 % also over all the pairs and tasks that were looked at (Holm)."""

    @property
    def is_shown(self) -> bool:
        """The difference is separable on both sides."""
        return self.low is not None and self.high is not None


@dataclasses.dataclass(frozen=True)
class Search:
    """What was found among the curves of one task."""

    crossings: list[Crossing]
    num_pairs: int
    """Looked at: both were scored under two budgets at least."""
    num_undecided: int
    """The means change order, and the difference is separable under no budget."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
    """Two curves: their samples where both have one, and the budgets as log2."""

    names: tuple[str, str]
    ours: list[Sample]
    theirs: list[Sample]
    log_budgets: Float[np.ndarray, " K"]
    means: Float[np.ndarray, " K"]
    signs: Float[np.ndarray, " K"]
    """Of the differences that are separable; 0 elsewhere."""
    levels: list[Pairs]
    """Each of this pair alone."""
    places: list[int]
    """Of these budgets among all."""
    num_budgets: int

    def p_value(self, *sides: int) -> float:
        """The level at which the difference is separable on all these sides."""
        found = [float(self.levels[side].p_values()[0, 0]) for side in sides]
        return min(1.0, self.num_budgets * max(found))

    def difference(self, left: int, share: float) -> Interval | None:
        """Of the pair, at a share of the way from one budget to the next."""
        pair = [_between(curve[left], curve[left + 1], share) for curve in (self.ours, self.theirs)]
        return None if pair[0] is None or pair[1] is None else paired_difference(pair[0], pair[1])


def crossings(
    names: Sequence[str], budgets: Sequence[float], samples: Sequence[Sequence[Sample | None]]
) -> Search:
    """The crossings of all pairs of curves.

    Args:
        names: Of the curves.
        budgets: Rising.
        samples: By budget and curve; None where one has no score.
    """
    levels = [paired_differences(level) for level in samples]
    means = np.stack([level.mean for level in levels])
    tail = (1 - LEVEL) / 2 / len(budgets)
    is_sure = np.stack([(np.abs(p.mean) > p.half_width(tail)) & (p.seeds != 1) for p in levels])
    signs = np.where(is_sure, np.sign(means), 0.0)
    is_known = ~np.isnan(means)
    order = np.sign(np.where(is_known, means, 0.0))
    changes = ((order == 1).any(0) & (order == -1).any(0)) & np.triu(np.ones_like(order[0], bool))
    found = []
    for i, j in np.argwhere(changes & (signs != 0).any(0)):
        places = np.flatnonzero(is_known[:, i, j]).tolist()
        pair = _Pair(
            (names[i], names[j]),
            [s for k in places if (s := samples[k][i]) is not None],
            [s for k in places if (s := samples[k][j]) is not None],
            np.log2([budgets[k] for k in places]),
            means[places, i, j],
            signs[places, i, j],
            [levels[k].part([i], [j]) for k in places],
            places,
            len(budgets),
        )
        found += _of_pair(pair)
    num_pairs = int(np.triu(is_known.sum(0) > 1, 1).sum())
    return Search(found, num_pairs, int((changes & ~(signs != 0).any(0)).sum()))


def corrected(searches: Sequence[Search]) -> list[Search]:
    """The same, with what stands over all of their pairs together."""
    found = [crossing for search in searches for crossing in search.crossings]
    p_values = np.ones(max(sum(search.num_pairs for search in searches), len(found)))
    p_values[: len(found)] = [crossing.p for crossing in found]
    stands = iter(holm(p_values).tolist())
    return [
        dataclasses.replace(
            search,
            crossings=[dataclasses.replace(one, stands=next(stands)) for one in search.crossings],
        )
        for search in searches
    ]


def _of_pair(pair: _Pair) -> list[Crossing]:
    """Crossings between budgets where the sign is sure, and those of which one side is not."""
    sure = np.flatnonzero(pair.signs).tolist()
    first, last, end = sure[0], sure[-1], len(pair.means) - 1
    found = []
    if pair.means[0] * pair.signs[first] < 0:
        found.append(_crossing(pair, 0, first, is_open=(True, False)))
    for left, right in itertools.pairwise(sure):
        if pair.signs[left] != pair.signs[right]:
            found.append(_crossing(pair, left, right, is_open=(False, False)))
    if pair.means[end] * pair.signs[last] < 0:
        found.append(_crossing(pair, last, end, is_open=(False, True)))
    return found


def _crossing(pair: _Pair, left: int, right: int, is_open: tuple[bool, bool]) -> Crossing:
    """The crossing between two budgets of which the means differ in sign."""
    first, second = pair.names if pair.means[left] > 0 else pair.names[::-1]
    low, high = _doubt(pair, left, right)
    is_shown = not any(is_open)
    return Crossing(
        before=first,
        after=second,
        at=_zero(pair, left, right),
        low=None if is_open[0] else low,
        high=None if is_open[1] else high,
        settled=pair.places[left if is_open[1] else right],
        p=pair.p_value(left, right) if is_shown else 1.0,
    )


def _zero(pair: _Pair, left: int, right: int) -> float:
    """Where the interpolated mean is zero; the middle one, where it is so more than once."""
    zeros = []
    for k in range(left, right):
        before, after = pair.means[k], pair.means[k + 1]
        if before * after < 0 or (before == 0 and k > left):
            share = before / (before - after) if before != after else 0.0
            zeros.append(_budget(pair, k, share))
    return zeros[len(zeros) // 2]


def _doubt(pair: _Pair, left: int, right: int) -> tuple[float, float]:
    """The smallest and the largest budget at which the two are not separable."""
    found = [_zero(pair, left, right)]
    for k in range(left, right):
        last_margin = last_share = 0.0
        for share in np.linspace(0.0, 1.0, _STEPS + 1):
            gap = pair.difference(k, float(share))
            margin = -1.0 if gap is None else abs(gap.mean) - gap.half_width
            if share and (margin > 0) != (last_margin > 0):
                inside = last_margin / (last_margin - margin)
                found.append(_budget(pair, k, last_share + inside * (share - last_share)))
            if margin <= 0:
                found.append(_budget(pair, k, float(share)))
            last_margin, last_share = margin, float(share)
    return min(found), max(found)


def _budget(pair: _Pair, left: int, share: float) -> float:
    start, end = pair.log_budgets[left : left + 2]
    return float(2.0 ** (start + share * (end - start)))


def _between(before: Sample, after: Sample, share: float) -> Sample | None:
    """What a run of a budget between two would have scored; None where no seed ran both.

    The sampling errors of both are about the same examples, so they add as they stand: at most
    too wide.
    """
    seeds = common_seeds(before, after)
    if seeds is None:
        return None
    parts = ((before, 1.0 - share), (after, share))
    rows = [sample.rows(seeds or (0,)) for sample, _ in parts]

    def mixed(name: str) -> np.ndarray:
        return np.asarray(
            sum(part * getattr(s, name)[r] for (s, part), r in zip(parts, rows, strict=True))
        )

    is_aligned = before.outcomes is not None and after.outcomes is not None
    is_aligned = is_aligned and before.examples == after.examples
    return Sample(
        seeds=seeds,
        values=mixed("values"),
        stderrs=mixed("stderrs"),
        examples=before.examples if is_aligned else None,
        outcomes=mixed("outcomes") if is_aligned else None,
    )
