from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from bench.statistics.intervals import Sample, paired_difference
from bench.statistics.pairwise import (
    Pairs,
    holm,
    letters,
    minimum_detectable_difference,
    paired_differences,
)


def right(
    rng: np.random.Generator, seeds: tuple[int, ...], count: int = 30, examples: str | None = "x"
) -> Sample:
    """Outcomes on `count` examples; a baseline if there are no seeds."""
    y = (rng.random((max(len(seeds), 1), count)) < 0.6).astype(float)
    errors = y.std(axis=1, ddof=1) / count**0.5
    return Sample(seeds, y.mean(axis=1), errors, examples, None if examples is None else y)


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_all_pairs_at_once_are_the_pairs_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [
        right(rng, (0, 1, 2)), right(rng, (0, 1, 2)), right(rng, (1, 2)), right(rng, (9,)), None,
        right(rng, ()), right(rng, ()), right(rng, (0, 1, 2), 25, "others"),
        right(rng, (0, 2), examples=None), right(rng, (2, 1, 0)),
    ]  # fmt: skip
    pairs = paired_differences(samples)
    for i, j in itertools.product(range(len(samples)), repeat=2):
        ours, theirs = samples[i], samples[j]
        expected = None if ours is None or theirs is None else paired_difference(ours, theirs)
        result = pairs.interval(i, j)
        assert (result is None) == (expected is None)
        if result is not None and expected is not None:
            assert result.low == pytest.approx(expected.low, abs=1e-9)
            assert result.high == pytest.approx(expected.high, abs=1e-9)
            assert result.seeds == expected.seeds


def test_two_seeds_by_hand() -> None:
    # The differences of the example in test_intervals: rows .75 and .5.
    first = np.array([[1.0, 1, 1, 0], [1, 0, 1, 0]])
    errors = np.zeros(2)
    ours = Sample((0, 1), first.mean(axis=1), errors, "x", first)
    nothing = Sample((0, 1), np.zeros(2), errors, "x", np.zeros((2, 4)))
    result = paired_differences([ours, nothing])
    squared = 12.7062047362**2 * 0.015625 + 3.1824463053**2 * (0.6875 / 12 - 0.015625)
    assert result.mean[0, 1] == -result.mean[1, 0] == 0.625
    assert result.half[0, 1] == pytest.approx(squared**0.5)


def one(mean: float, seed: float, example: float, seeds: int, freedom: float) -> Pairs:
    return Pairs(
        *(np.full((1, 1), x) for x in (mean, seed, example, 0.0, seeds, freedom, max(seeds - 1, 1)))
    )


def test_p_is_the_level_at_which_the_interval_touches_zero() -> None:
    # Of seeds alone it is the p of the t test: 3 seeds, standard error .1, gap .5: t = 5.
    assert one(0.5, 0.01, 0.0, 3, 100.0).p_values()[0, 0] == pytest.approx(2 * t.sf(5, 2))
    both = one(0.5, 0.01, 0.02, 3, 100.0)
    p = both.p_values()[0, 0]
    assert both.half_width(p / 2)[0, 0] == pytest.approx(0.5)
    assert (p < 0.05) == bool(both.significant()[0, 0])
    assert np.isnan(one(0.5, 0.0, 0.01, 1, 100.0).p_values()[0, 0])
    assert not one(0.5, 0.0, 1e-9, 1, 100.0).significant()[0, 0]


def test_holm_by_hand() -> None:
    # Bars .05 / 4, / 3, / 2, / 1 in order of p: the third fails, so the fourth falls with it.
    p_values = np.array([0.04, 0.012, np.nan, 0.03, 0.0166])
    assert holm(p_values).tolist() == [False, True, False, False, True]
    assert holm(np.array([0.02, 0.01])).tolist() == [True, True]
    assert holm(np.array([0.05])).tolist() == [True]
    assert holm(np.array([])).tolist() == []


def test_letters_by_hand() -> None:
    # a > b > c: only the ends are different, which gives the textbook's a, ab, b.
    is_different = np.zeros((3, 3), dtype=bool)
    is_different[0, 2] = is_different[2, 0] = True
    assert letters(is_different, np.array([0.9, 0.8, 0.7])) == ["a", "ab", "b"]
    assert letters(is_different, np.array([0.7, 0.8, 0.9])) == ["b", "ab", "a"]
    assert letters(~np.eye(3, dtype=bool), np.array([1.0, 3.0, 2.0])) == ["c", "a", "b"]
    assert letters(np.zeros((3, 3), dtype=bool), np.zeros(3)) == ["a", "a", "a"]


@given(st.integers(1, 9), st.integers(0, 2**32))
def test_two_share_a_letter_if_and_only_if_they_are_not_different(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    is_different = np.triu(rng.random((count, count)) < 0.6, 1)
    is_different |= is_different.T
    shown = letters(is_different, rng.random(count))
    for i, j in itertools.combinations(range(count), 2):
        assert bool({*shown[i]} & {*shown[j]}) != is_different[i, j]
    assert all(shown)


def test_a_hundred_groups_still_have_letters() -> None:
    shown = letters(~np.eye(100, dtype=bool), -np.arange(100.0))
    assert len({*shown}) == 100
    assert shown[:2] == ["a", "b"]
    assert shown[52] == "(53)"


def test_the_minimum_detectable_difference_is_the_median_over_pairs_with_seeds() -> None:
    rng = np.random.default_rng(0)
    samples = [right(rng, (0, 1, 2)) for _ in range(3)] + [right(rng, (0,))]
    pairs = paired_differences(samples)
    expected = np.median([pairs.half[i, j] for i, j in ((0, 1), (0, 2), (1, 2))])
    assert minimum_detectable_difference(pairs, [0, 1, 2], [0, 1, 2]) == pytest.approx(expected)
    assert minimum_detectable_difference(pairs, [0, 1, 2, 3], [0, 1, 2, 3]) == pytest.approx(
        expected
    )
    assert minimum_detectable_difference(pairs, [0, 3], [0, 3]) is None


@pytest.mark.slow
def test_a_difference_of_minimum_detectable_size_is_significant_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    halves, num_significant = [], 0
    for _ in range(800):
        luck = rng.normal(0.0, 0.3, (2, 5, 1))
        y = rng.normal(size=200) + luck + rng.normal(size=(2, 5, 200)) > 0
        samples = [Sample((0, 1, 2, 3, 4), x.mean(1), x.std(1), "x", x.astype(float)) for x in y]
        pairs = paired_differences(samples)
        halves.append(pairs.half[0, 1])
        # The same run, with one objective better by the median half-width of all runs so far.
        shifted = abs(pairs.mean[0, 1] + np.median(halves))
        num_significant += shifted > pairs.half[0, 1]
    assert 0.4 < num_significant / 800 < 0.6
