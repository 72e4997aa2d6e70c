from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, t, trim_mean

from bench.statistics.aggregate import Aggregate, TaskScores, aggregate, ranks, trimmed_mean
from bench.statistics.intervals import Sample

NAMES = ("a", "b", "c", "d")


def certain(*by_seed: float, seeds: tuple[int, ...] | None = None) -> Sample:
    """Values without sampling error, so that seeds alone vary."""
    values = np.array(by_seed)
    return Sample(seeds or tuple(range(len(values))), values, np.zeros(len(values)))


def test_normalised_between_chance_and_the_best_by_hand() -> None:
    # Chance is .5 and the best has .9 and .7: b is halfway on the first task, at 0 on the second;
    # of two tasks none is trimmed.
    tasks = [
        TaskScores("one", [certain(0.9, 0.9), certain(0.7, 0.7)], 0.5),
        TaskScores("two", [certain(0.7, 0.7), certain(0.5, 0.5)], 0.5),
    ]
    result = aggregate("both", tasks, NAMES[:2], [True, True])
    assert result.iqm.tolist() == pytest.approx([1.0, 0.25])
    assert result.rank.tolist() == [1.0, 2.0]
    assert result.seeds == (2, 2)
    difference = result.difference("a", "b")
    assert difference is not None
    assert (difference.mean, difference.half_width) == (
        pytest.approx(0.75),
        pytest.approx(0.0, abs=1e-9),
    )
    assert result.difference("a", "z") is None
    assert result.letters == {"a": "a", "b": "b"}


def test_the_seed_part_is_the_t_interval_of_the_aggregates_of_single_seeds() -> None:
    tasks = [
        TaskScores("one", [certain(0.9, 0.9, 0.9), certain(0.6, 0.7, 0.8)], 0.5),
        TaskScores("two", [certain(0.9, 0.9, 0.9), certain(0.5, 0.7, 0.9)], 0.5),
    ]
    result = aggregate("both", tasks, NAMES[:2], [True, True])
    # The aggregates of the seeds of b: (.25 + 0) / 2, (.5 + .5) / 2, (.75 + 1) / 2.
    own = np.array([0.125, 0.5, 0.875])
    expected = t.ppf(0.975, 2) * own.std(ddof=1) / 3**0.5
    mean, rank = result.of("b")
    assert mean.mean == pytest.approx(0.5)
    assert mean.half_width == pytest.approx(expected)
    assert rank is not None
    assert rank.mean == pytest.approx((2 + 2 + (2 + 1.5) / 2) / 3)


def test_the_untrained_encoder_is_zero_where_there_is_no_chance_level() -> None:
    first = TaskScores("one", [certain(0.8, 0.8), certain(0.6, 0.6), certain(0.4, 0.4)], 2)
    result = aggregate("both", [first, first], NAMES[:3], [True, True, False])
    assert result.iqm.tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert result.of("c")[1] is None


def test_a_seed_that_one_objective_lacks_is_not_imputed() -> None:
    tasks = [
        TaskScores(name, [certain(0.9, 0.8, 0.7), certain(0.6, 0.5, seeds=(0, 2))], 0.4)
        for name in ("one", "two")
    ]
    result = aggregate("both", tasks, NAMES[:2], [True, True])
    assert result.seeds == (3, 2)
    difference = result.difference("a", "b")
    assert difference is not None
    assert difference.seeds == 2


def test_one_seed_is_never_significant() -> None:
    tasks = [TaskScores(name, [certain(0.9), certain(0.5)], 0.0) for name in ("one", "two")]
    result = aggregate("both", tasks, NAMES[:2], [True, True])
    difference = result.difference("a", "b")
    assert difference is not None
    assert not difference.is_significant
    assert result.letters == {"a": "a", "b": "a"}


@given(st.integers(1, 13), st.integers(1, 6), st.integers(0, 2**32))
def test_trimming_and_ranks_are_scipys(num_tasks: int, count: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 5, (num_tasks, count, 3)) / 4
    assert trimmed_mean(x) == pytest.approx(trim_mean(x, 0.25, axis=0))
    assert ranks(x) == pytest.approx(rankdata(-x, axis=1))


def simulated(
    rng: np.random.Generator,
    skills: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    num_seeds: int = 3,
    num_tasks: int = 8,
    spread: float = 0.1,
    count: int = 200,
) -> Aggregate:
    """Objectives on several tasks; a part of a seed's effect is the same on all of them."""
    shared = rng.normal(0.0, spread, (len(skills), num_seeds))
    tasks = []
    for number in range(num_tasks):
        luck = shared + rng.normal(0.0, spread, shared.shape)
        ability = np.array(skills)[:, None] + luck
        ease, error = rng.normal(0.6, 1.0, count), rng.normal(size=(*shared.shape, count))
        y = (ability[:, :, None] + ease + error > 0).astype(float)
        errors = y.std(axis=2, ddof=1) / count**0.5
        samples = [
            Sample(tuple(range(num_seeds)), one.mean(axis=1), error, "x", one)
            for one, error in zip(y, errors, strict=True)
        ]
        tasks.append(TaskScores(f"task {number}", samples, 0.5))
    return aggregate("all", tasks, NAMES[: len(skills)], [True] * len(skills))


def test_the_same_records_give_the_same_intervals() -> None:
    first, second = (simulated(np.random.default_rng(7)) for _ in range(2))
    assert (first.half_widths == second.half_widths).all()
    assert (first.gap_widths == second.gap_widths).all()


def alarms_and_coverage(repeats: int, num_seeds: int, spread: float) -> tuple[float, float]:
    """For equal objectives: shares of significant pairs, and of intervals of the rank with 2.5."""
    rng = np.random.default_rng(num_seeds)
    alarms, covered = [], []
    for _ in range(repeats):
        result = simulated(rng, num_seeds=num_seeds, spread=spread)
        alarms.append(abs(result.iqm[0] - result.iqm[1]) > result.gap_widths[0, 1])
        covered.append(abs(result.rank[0] - 2.5) <= result.half_widths[0, 1])
    return float(np.mean(alarms)), float(np.mean(covered))


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_false_alarms_of_the_aggregate(num_seeds: int, spread: float) -> None:
    alarms, covered = alarms_and_coverage(300, num_seeds, spread)  # binomial error: .0126
    assert alarms < 0.09
    assert covered > 0.90


@pytest.mark.slow
def test_coverage_of_the_interquartile_mean() -> None:
    # Different skills, so that the best is known; the truth comes from many seeds and examples.
    skills = (-0.3, -0.1, 0.0, 0.6)
    truth = np.mean(
        [simulated(np.random.default_rng(k), skills, 20, 8, 0.1, 2000).iqm for k in range(20)],
        axis=0,
    )
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        result = simulated(rng, skills, num_seeds=3)
        covered.append(np.abs(result.iqm - truth) <= result.half_widths[:, 0])
    assert (np.mean(covered, axis=0)[:3] > 0.92).all()  # the best is 1 by definition
