from __future__ import annotations

import numpy as np
import pytest

from bench.statistics.bootstrap import draws, resampled_means, weights
from tests.statistics.test_intervals import simulate


def test_draws_depend_on_name_and_place_alone() -> None:
    first = draws("examples of sense", 4, 6)
    assert (first == draws("examples of sense", 4, 6)).all()
    assert (first.ravel()[:12] == draws("examples of sense", 2, 6).ravel()).all()
    assert not (first == draws("examples of squad", 4, 6)).any()
    assert len(np.unique(first)) == 24
    # Pinned: another platform draws the same.
    assert draws("seeds", 1, 2).tolist() == [[17616835402928157260, 6752716545319627254]]


def test_weights_are_those_of_a_multinomial() -> None:
    result = weights("some name", 20, 4000)
    assert result.sum(axis=1) == pytest.approx(np.ones(4000))
    assert result.mean(axis=0) == pytest.approx(np.full(20, 1 / 20), abs=0.004)
    assert result.var(axis=0) * 20**2 == pytest.approx(np.full(20, 0.95), abs=0.12)
    assert np.corrcoef(result[:, 0], result[:, 1])[0, 1] == pytest.approx(-1 / 19, abs=0.05)


@pytest.mark.parametrize("count", [50, 5000])
def test_resampled_means_vary_as_a_mean_does(count: int) -> None:
    rng = np.random.default_rng(0)
    row = rng.exponential(size=count)
    both = resampled_means("some name", np.stack([row, row + 1.0]), 2000)
    assert both[0].mean() == pytest.approx(row.mean(), abs=3 * row.std() / (count * 2000) ** 0.5)
    assert both[0].std() == pytest.approx(row.std() / count**0.5, rel=0.08)
    assert both[1] - both[0] == pytest.approx(np.ones(2000))  # columns are resampled together


@pytest.mark.slow
def test_the_plain_bootstrap_has_too_many_false_alarms() -> None:
    # False alarms of 800 null comparisons, plain bootstrap | two mean squares: 2 seeds .24 | .05,
    # 3 seeds .15 | .05, 4 seeds .10 | .05, 5 seeds .09 | .04 (seeds vary by .3; error .008).
    alarms = 0
    for number, (ours, theirs) in enumerate(simulate(400, 2, 0.3, np.random.default_rng(2))):
        gap = ours - theirs
        over_seeds = weights(f"seeds {number}", 2, 400) @ gap
        both = (over_seeds * weights(f"examples {number}", gap.shape[1], 400)).sum(axis=1)
        low, high = np.percentile(both, [2.5, 97.5])
        alarms += bool(low > 0 or high < 0)
    assert alarms / 400 > 0.15
