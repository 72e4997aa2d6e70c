from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from bench.statistics.intervals import (
    Interval,
    Sample,
    interval_of_outcomes,
    interval_of_values,
    paired_difference,
    spreads,
)


def sample(outcomes: list[list[float]] | np.ndarray, seeds: tuple[int, ...]) -> Sample:
    array = np.asarray(outcomes, dtype=float)
    errors = array.std(axis=1, ddof=1) / array.shape[1] ** 0.5
    return Sample(seeds, array.mean(axis=1), errors, f"the first {array.shape[1]}", array)


def test_two_seeds_by_hand() -> None:
    # Rows .75 and .5: V_seed = .03125 / 2. Columns 1, .5, 1, 0: V_example = (.6875 / 3) / 4.
    # Residuals are three of .125 and one of .375 a row: V_residual = .375 / 3 / 8.
    interval = interval_of_outcomes(np.array([[1.0, 1, 1, 0], [1, 0, 1, 0]]))
    squared = 12.7062047362**2 * 0.015625 + 3.1824463053**2 * (0.6875 / 12 - 0.015625)
    assert interval.mean == 0.625
    assert interval.half_width == pytest.approx(squared**0.5)
    assert interval.low == pytest.approx(0.625 - squared**0.5)
    assert interval.seeds == 2


def test_one_seed_by_hand() -> None:
    interval = interval_of_outcomes(np.array([[1.0, 1, 1, 0]]))
    assert interval.half_width == pytest.approx(3.1824463053 * (0.1875 * 4 / 3 / 4) ** 0.5)
    assert interval.seeds == 1


def test_values_alone_by_hand() -> None:
    interval = interval_of_values(np.array([0.6, 0.7, 0.8]), np.array([0.03, 0.03, 0.03]))
    squared = 4.3026527297**2 * 0.01 / 3 + 1.9599639845**2 * 0.0009
    assert (interval.mean, interval.seeds) == (pytest.approx(0.7), 3)
    assert interval.half_width == pytest.approx(squared**0.5)
    alone = interval_of_values(np.array([0.6]), np.array([0.03]))
    assert alone.half_width == pytest.approx(1.9599639845 * 0.03)


def test_outcomes_that_never_vary_have_an_interval() -> None:
    interval = interval_of_outcomes(np.ones((1, 20)))
    assert interval.half_width == pytest.approx(2.0930240544 / 20)
    one_wrong = interval_of_outcomes(np.array([[0.0] + [1.0] * 19]))
    assert one_wrong.half_width == pytest.approx(interval.half_width)


def test_difference_by_hand() -> None:
    ours = sample([[1, 1, 1, 0], [1, 0, 1, 0]], (0, 1))
    theirs = sample([[0, 1, 1, 0], [0, 0, 1, 0]], (0, 1))
    interval = paired_difference(ours, theirs)  # 1 0 0 0 in both seeds: only examples vary
    assert interval is not None
    assert interval.mean == 0.25
    assert interval.half_width == pytest.approx(3.1824463053 * (0.1875 * 4 / 3 / 4) ** 0.5)
    assert not interval.is_significant
    assert interval.minimum_detectable_difference == interval.half_width


def test_pairing_cancels_examples_that_are_hard_for_both() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5
    rows = np.stack([hard, hard, hard]).astype(float)
    better = rows.copy()
    better[:, :20] = 1.0
    interval = paired_difference(sample(better, (0, 1, 2)), sample(rows, (0, 1, 2)))
    alone = spreads([sample(rows, (0, 1, 2))])[0].interval()
    assert interval is not None
    assert interval.is_significant
    assert interval.half_width < alone.half_width / 2


def test_seeds_are_paired_by_number_and_only_common_ones_count() -> None:
    ours = sample([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], (2, 0, 7))
    theirs = sample([[1, 1, 1, 0], [1, 1, 0, 0]], (0, 2))
    interval = paired_difference(ours, theirs)
    assert interval is not None
    assert (interval.mean, interval.seeds) == (0.0, 2)
    assert paired_difference(ours, sample([[1, 0, 1, 0]], (5,))) is None


def test_a_baseline_pairs_with_every_seed() -> None:
    baseline = sample([[1, 0, 0, 0]], ())
    interval = paired_difference(sample([[1, 1, 1, 0], [1, 1, 0, 0]], (0, 1)), baseline)
    assert interval is not None
    assert (interval.mean, interval.seeds) == (0.375, 2)
    both = paired_difference(baseline, sample([[0, 1, 0, 0]], ()))
    assert both is not None
    assert (both.mean, both.seeds) == (0.0, 0)
    assert spreads([baseline])[0].interval().seeds == 0


def test_differences_on_other_examples_are_those_of_values() -> None:
    ours = sample([[1, 1, 1, 0], [1, 0, 1, 0]], (0, 1))
    theirs = sample([[1, 0, 1], [1, 0, 0]], (0, 1))
    interval = paired_difference(ours, theirs)
    assert interval is not None
    expected = interval_of_values(
        ours.values - theirs.values, np.sqrt(ours.stderrs**2 + theirs.stderrs**2)
    )
    assert (interval.low, interval.high) == (expected.low, expected.high)


def test_one_seed_is_never_significant() -> None:
    assert not Interval(0.5, 0.4, 0.6, seeds=1).is_significant
    assert Interval(0.5, 0.4, 0.6, seeds=2).is_significant
    assert Interval(-0.5, -0.6, -0.4, seeds=0).is_significant
    assert not Interval(0.1, 0.0, 0.2, seeds=3).is_significant


@pytest.mark.parametrize("array", [np.ones((1, 1)), np.full((2, 3), np.nan), np.ones((0, 5))])
def test_no_interval_from_nothing(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two examples"):
        interval_of_outcomes(array)


@given(st.integers(2, 5), st.integers(2, 30), st.integers(0, 2**32))
def test_never_narrower_than_seeds_or_examples_alone(n: int, m: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(0, 2, (n, m)).astype(float)
    half = interval_of_outcomes(y).half_width
    over_seeds = t.ppf(0.975, n - 1) * (y.mean(1).var(ddof=1) / n) ** 0.5
    over_examples = t.ppf(0.975, m - 1) * (y.mean(0).var(ddof=1) / m) ** 0.5
    assert half >= max(over_seeds, over_examples) - 1e-12


@given(st.integers(1, 4), st.integers(2, 20), st.integers(0, 2**32))
def test_an_interval_shifts_scales_and_ignores_order(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.random((n, m))
    plain, moved = interval_of_outcomes(y), interval_of_outcomes(3 * y - 1)
    assert moved.low == pytest.approx(3 * plain.low - 1)
    assert moved.high == pytest.approx(3 * plain.high - 1)
    mixed = interval_of_outcomes(y[rng.permutation(n)][:, rng.permutation(m)])
    assert mixed.low == pytest.approx(plain.low)


def simulate(repeats: int, num_seeds: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Outcomes of two equally good objectives: repeats x 2 x seeds x 200 examples."""
    ease = rng.normal(0.6, 1.0, (repeats, 1, 1, 200))
    luck = rng.normal(0.0, spread, (repeats, 2, num_seeds, 1))
    return (ease + luck + rng.normal(size=(repeats, 2, num_seeds, 200)) > 0).astype(float)


def rates(repeats: int, num_seeds: int, spread: float) -> tuple[float, float]:
    """(false alarms of the paired difference, coverage of the mean) in a simulation."""
    drawn = simulate(repeats, num_seeds, spread, np.random.default_rng(num_seeds))
    truth = simulate(20_000, 1, spread, np.random.default_rng(99)).mean()
    alarms, covered = 0, 0
    for ours, theirs in drawn:
        alarms += interval_of_outcomes(ours - theirs).is_significant
        covered += not interval_of_outcomes(ours).excludes(float(truth))
    return alarms / repeats, covered / repeats


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_false_alarms_and_coverage(num_seeds: int) -> None:
    alarms, coverage = rates(600, num_seeds, spread=0.3)  # binomial error: 0.009
    assert alarms < 0.08
    assert coverage > 0.92


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "least", "most"), [(0.0, 0.035, 0.065), (0.3, 0.4, 0.6)])
def test_the_interval_of_one_seed_covers_examples_only(
    spread: float, least: float, most: float
) -> None:
    drawn = simulate(1500, 1, spread, np.random.default_rng(1))
    missed = [interval_of_outcomes(ours - theirs).excludes(0.0) for ours, theirs in drawn]
    assert least < np.mean(missed) < most  # so one seed is never called significant


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [2, 3, 4, 5])
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_false_alarms_and_coverage_at_length(num_seeds: int, spread: float) -> None:
    alarms, coverage = rates(4000, num_seeds, spread)  # binomial error: 0.0035
    assert alarms < 0.062
    assert coverage > 0.938
    if spread >= 0.4:  # where seeds decide, it is not needlessly wide either
        assert alarms > 0.025
