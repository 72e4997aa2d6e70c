"""Crossings of simulated curves, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.statistics.crossings import Crossing, Search, correct, crossings
from bench.statistics.intervals import Sample

BUDGETS = [50e3, 100e3, 200e3, 400e3]
CROSSING = 1.3
"""In doublings of the first budget."""


def sample(outcomes: np.ndarray, seeds: Sequence[int] | None = None) -> Sample:
    errors = outcomes.std(axis=1, ddof=1) / outcomes.shape[1] ** 0.5
    named = tuple(seeds or range(len(outcomes)))
    return Sample(named, outcomes.mean(axis=1), errors, f"the first {outcomes.shape[1]}", outcomes)


def simulated(skills: Sequence[Sequence[float]], seeds: int, number: int) -> list[list[Sample]]:
    """Scores by budget and objective; seeds vary, and hard examples are hard for both."""
    rng = np.random.default_rng(number)
    ease = rng.normal(0.0, 0.5, 100)
    quirks = rng.normal(0.0, 0.2, (2, 100))
    return [
        [
            sample(skill + ease + quirk + rng.normal(0.0, 0.05, (seeds, 1))
                   + rng.normal(0.0, 0.5, (seeds, 100)))
            for skill, quirk in zip(level, quirks, strict=True)
        ]
        for level in skills
    ]  # fmt: skip


def shown(skills: Sequence[Sequence[float]], seeds: int, count: int) -> list[list[Crossing]]:
    """The crossings shown of as many simulations."""
    with threadpool_limits(1, "blas"):
        result = [
            crossings(["a", "b"], BUDGETS, simulated(skills, seeds, k)).crossings
            for k in range(count)
        ]
    return [[one for one in crossed if one.is_shown] for crossed in result]


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize(
    "gaps", [(0.0, 0.0, 0.0, 0.0), (0.08, 0.08, 0.08, 0.08), (0.0, 0.0, 0.0, 0.6)]
)
def test_no_crossing_is_shown_of_curves_that_do_not_cross(
    gaps: tuple[float, ...], seeds: int
) -> None:
    result = shown([[0.0, gap] for gap in gaps], seeds, 20)
    assert not any(result)


def check_coverage(slope: float, seeds: int, count: int) -> None:
    result = shown([[0.0, slope * (k - CROSSING)] for k in range(4)], seeds, count)
    known = [crossed[0] for crossed in result if crossed]
    assert len(known) > 0.8 * count
    assert {(one.before, one.after) for one in known} == {("a", "b")}
    true = BUDGETS[0] * 2**CROSSING
    covered = sum(one.low <= true <= one.high for one in known if one.low and one.high)
    assert covered >= 0.9 * len(known)
    assert np.median([one.at for one in known]) == pytest.approx(true, rel=0.1)


def test_a_crossing_is_found_and_covered() -> None:
    check_coverage(0.6, 3, 20)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "seeds"), [(0.6, 3), (0.3, 5), (0.6, 5)])
def test_coverage(slope: float, seeds: int) -> None:
    check_coverage(slope, seeds, 200)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_false_alarms(seeds: int) -> None:
    for gaps in ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.6), (0.05, 0.05, 0.05, 0.05)):
        result = shown([[0.0, gap] for gap in gaps], seeds, 300)
        assert sum(map(bool, result)) <= 0.025 * 300


def exact(mean: float) -> Sample:
    """Two seeds and a hundred examples with equal outcomes."""
    return sample(np.full((2, 100), mean))


def test_a_crossing_by_hand() -> None:
    # The difference goes from -1 to 3 over the doubling from 100k: zero after a quarter of it.
    levels = [[exact(0.0), exact(x)] for x in (-2.0, -1.0, 3.0, 4.0)]
    (one,) = crossings(["a", "b"], BUDGETS, levels).crossings
    assert (one.before, one.after, one.settled) == ("a", "b", 2)
    assert one.at == pytest.approx(100e3 * 2**0.25)
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.at < one.high < 1.01 * one.at
    assert 0.99 * one.at < one.low


def test_a_crossing_that_is_significant_on_one_side_has_one_end() -> None:
    rng = np.random.default_rng(0)
    noisy = [sample(x + rng.normal(0.0, 1.0, (2, 20))) for x in (0.0, 0.0)]
    gap = float(noisy[1].values.mean() - noisy[0].values.mean())
    far = [exact(0.0), exact(-9.0 * np.sign(gap))]
    late = crossings(["a", "b"], BUDGETS[:2], [far, noisy]).crossings
    assert [(one.low is None, one.high is None) for one in late] == [(False, True)]
    assert (late[0].p, late[0].settled) == (1.0, 0)
    assert late[0].low is not None
    assert BUDGETS[0] < late[0].low < late[0].at
    early = crossings(["a", "b"], BUDGETS[:2], [noisy, far]).crossings
    assert [(one.low is None, one.high is None) for one in early] == [(True, False)]
    neither = crossings(["a", "b"], BUDGETS[:2], [noisy, noisy[::-1]])
    assert (neither.crossings, neither.num_pairs, neither.num_undecided) == ([], 1, 1)


def test_one_seed_shows_no_crossing() -> None:
    lone = [
        [sample(np.array([[0.0, 1e-4]])), sample(np.array([[x, x + 1e-4]]))] for x in (-1.0, 1.0)
    ]
    result = crossings(["a", "b"], BUDGETS[:2], lone)
    assert (result.crossings, result.num_undecided) == ([], 1)


def test_budgets_without_a_run_are_skipped() -> None:
    levels = [[exact(0.0), exact(x)] for x in (-1.0, -1.0, 1.0, 1.0)]
    gone: list[list[Sample | None]] = [[*levels[0]], [levels[1][0], None], [*levels[2]], [None] * 2]
    (one,) = crossings(["a", "b"], BUDGETS, gone).crossings
    assert one.at == pytest.approx((BUDGETS[0] * BUDGETS[2]) ** 0.5)
    assert one.settled == 2
    assert crossings(["a", "b"], BUDGETS, [[None, None]] * 4).num_pairs == 0


def test_values_that_are_not_means_over_examples_cross_too() -> None:
    def values(mean: float) -> Sample:
        return Sample((0, 1), np.array([mean, mean + 1e-4]), np.array([1e-3, 1e-3]))

    levels = [[values(0.0), values(x)] for x in (-1.0, 1.0)]
    (one,) = crossings(["a", "b"], BUDGETS[:2], levels).crossings
    assert one.at == pytest.approx(BUDGETS[0] * 2**0.5, rel=1e-3)
    assert one.is_shown


def test_holm_is_over_all_tested_pairs() -> None:
    def search(p: float, pairs: int) -> Search:
        return Search([Crossing("a", "b", 1.0, 0.5, 2.0, 1, p)], pairs, 0)

    first, second = correct([search(0.01, 3), search(0.03, 1)])
    assert first.crossings[0].holm  # 0.01 <= 0.05 / 4
    assert not second.crossings[0].holm  # 0.03 > 0.05 / 3
