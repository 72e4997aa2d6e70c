from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.experiment import Experiment, resolve
from bench.experiment.curve import MIN_STEPS, check_steps, halvings, share_of_longest
from bench.plan import make_plan, render
from bench.spec import Budget
from tests.conftest import REGISTRY


def make_experiment(**keys: Any) -> Experiment:
    known = {"tasks": "none", "seeds": "0-1", "device": "cpu", "budget": "400k"}
    return resolve(["token", "causal"], REGISTRY, **(known | keys))


def test_each_budget_is_half_of_the_one_before() -> None:
    found = halvings(Budget("flops", 1e12), 4)
    assert [one.amount for one in found] == [1e12, 5e11, 2.5e11, 1.25e11]
    assert {one.axis for one in found} == {"flops"}
    for points in (1, 2, 4, 16):
        spent = sum(one.amount for one in halvings(Budget("tokens", 1.0), points))
        assert share_of_longest(points) == spent


@pytest.mark.parametrize("points", [0, -1, 17])
def test_what_is_no_number_of_points_is_refused(points: int) -> None:
    with pytest.raises(BenchError, match=f"--curve {points}: give the number of budgets"):
        halvings(Budget("tokens", 1e6), points)


def test_a_point_that_is_no_run_is_refused() -> None:
    check_steps(3, 4 * MIN_STEPS * 512, 512)
    with pytest.raises(BenchError, match="--curve 3 at most, or a larger --budget"):
        check_steps(4, 4 * MIN_STEPS * 512, 512)
    with pytest.raises(BenchError, match=r"about 5 steps of 512 tokens.* a larger --budget"):
        check_steps(2, 10 * 512, 512)
    check_steps(1, 1.0, 512)  # a single short run is the user's affair
    with pytest.raises(BenchError, match="its shortest run"):
        make_experiment(budget="20k", curve=4)


def test_only_the_budget_differs_between_points(corpus: Any) -> None:
    alone, curve = make_experiment(), make_experiment(curve=3)
    # A generated corpus grows with the budget: all points read the longest one's.
    assert curve.corpus == alone.corpus != make_experiment(budget="4M").corpus
    specs = curve.specs(corpus)
    longest = alone.specs(corpus)
    assert [spec.id for spec in specs[: len(longest)]] == [spec.id for spec in longest]
    amounts = {
        name: sorted({spec.budget.amount for spec in specs if spec.objective == name})
        for name in ("token", "causal", "untrained")
    }
    assert amounts["token"] == amounts["causal"] == [1e5, 2e5, 4e5]
    assert amounts["untrained"] == [4e5]  # the same encoder under any budget: once
    assert len(specs) == len({spec.id for spec in specs}) == 2 * (3 + 3 + 1)


def test_a_plan_says_what_a_curve_costs(tmp_path: Path) -> None:
    alone, curve = (
        make_plan(make_experiment(), tmp_path),
        make_plan(make_experiment(curve=4), tmp_path),
    )
    assert alone.curve is None
    assert curve.curve is not None
    assert curve.curve.cost_of_longest == 1.875
    assert curve.pretraining_seconds == pytest.approx(1.875 * (alone.pretraining_seconds or 0.0))
    assert curve.disk_megabytes == pytest.approx(alone.disk_megabytes * (2 * 4 + 1) / 3)
    assert "50,000 tokens" in render(curve)
    assert "1.875 times the cost of 400,000 tokens alone" in render(curve)
    assert "curve" not in render(alone)
