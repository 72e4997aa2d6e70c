from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics.agreement import budget_ratio, decision_accuracy, extrapolate

NONE = np.zeros(3)


def test_decision_accuracy_by_hand() -> None:
    same = decision_accuracy(np.array([1.0, 2.0, 3.0]), NONE, np.array([5.0, 6.0, 9.0]), NONE)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
    one = decision_accuracy(np.array([1.0, 2.0, 3.0]), NONE, np.array([1.0, 3.0, 2.0]), NONE)
    assert one.value == pytest.approx(2 / 3)
    reverse = decision_accuracy(np.array([1.0, 2.0, 3.0]), NONE, np.array([3.0, 2.0, 1.0]), NONE)
    assert reverse.value == 0.0


def test_an_uncertain_order_has_a_wide_interval() -> None:
    noisy = np.full(3, 4.0)
    found = decision_accuracy(np.array([1.0, 1.1, 1.2]), noisy, np.array([1.0, 1.1, 1.2]), noisy)
    assert found.value == 1.0
    assert found.low < 0.3


def test_the_budget_at_which_a_score_is_reached() -> None:
    budgets, means = [1.0, 2.0, 4.0, 8.0], np.array([0.1, 0.2, 0.4, 0.6])
    found = budget_ratio(budgets, means, np.zeros(4), 0.3, 0.0)
    assert found is not None
    assert found.value == pytest.approx(2**1.5 / 8)  # half of the way in log2
    assert found.low == found.high == pytest.approx(found.value)
    at_once = budget_ratio(budgets, means, np.zeros(4), 0.05, 0.0)
    assert at_once is not None
    assert at_once.value == 1 / 8
    assert budget_ratio(budgets, means, np.zeros(4), 0.7, 0.0) is None
    near = budget_ratio(budgets, means, np.full(4, 0.01), 0.55, 0.0)
    assert near is not None
    assert near.low < near.value < near.high == math.inf


def test_a_missing_budget_is_skipped() -> None:
    found = budget_ratio([1.0, 2.0, 4.0], np.array([0.0, math.nan, 0.4]), np.zeros(3), 0.2, 0.0)
    assert found is not None
    assert found.value == pytest.approx(0.5)


def test_a_straight_line_is_extrapolated_exactly() -> None:
    means = np.array([[0.1, 0.2, 0.3], [0.5, 0.4, 0.3]])
    up, down = extrapolate([1.0, 4.0, 16.0], means, 64.0)
    assert (up.value, down.value) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (up.low, up.high) == (pytest.approx(up.value), pytest.approx(up.value))


def test_a_prediction_interval_holds_the_next_rung_in_95_percent() -> None:
    """Four objectives whose deviations from their lines have one variance."""
    draw, budgets, slopes = np.random.default_rng(0), [1.0, 4.0, 16.0], np.arange(4.0)
    x = np.log2(budgets)
    held = []
    for _ in range(2_000):
        means = slopes[:, None] * x + draw.normal(size=(4, 3))
        truth = slopes * math.log2(64.0) + draw.normal(size=4)
        found = extrapolate(budgets, means, 64.0)
        held += [one.low <= value <= one.high for one, value in zip(found, truth, strict=True)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
