"""The diagnostics' numbers by hand, and who they do not apply to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.diagnostics import JointPrediction, MaskMismatch
from bench.probing.task import NotApplicableError, Splits

NOISE = Noise(0, 0, torch.arange(1))


class Joint(JointPrediction):
    name, summary, source = "joint", "", ""

    def load(self, data):
        raise NotImplementedError


class Moved(MaskMismatch):
    name, summary, source = "moved", "", ""

    def load(self, data):
        raise NotImplementedError


class JointReader:
    def __init__(self, nats, scoring="masked"):
        self.nats, self.scoring = np.array(nats, dtype=float), scoring

    def joint_nats(self, texts, spans):
        if self.scoring is None:
            raise NotApplicableError("the objective predicts no tokens")
        assert spans[0] == (2, 5)
        return self.nats


def units(count=12):
    frame = pd.DataFrame({"text": [f"a big cat {i}" for i in range(count)], "start": 2, "end": 5})
    frame["bucket"] = ["capitals", "other"] * (count // 2)
    return Splits(frame[:0], frame, "0" * 64)


def test_nats_per_token_by_hand():
    """Six units of 2 tokens gain 1 nat each, five of 3 tokens lose 0.3; one of 1 token is out."""
    rows = [[-5, -4, 2]] * 6 + [[-6, -6.3, 3]] * 5 + [[-1, -1, 1]]
    score = Joint().score(JointReader(rows), units(), NOISE)
    tokens = 6 * 2 + 5 * 3
    assert score.value == pytest.approx((6 * 1 - 5 * 0.3) / tokens)
    assert score.details["at_once_nats_per_token"] == pytest.approx((6 * 5 + 5 * 6) / tokens)
    assert score.details["one_by_one_nats_per_token"] == pytest.approx((6 * 4 + 5 * 6.3) / tokens)
    assert (score.details["units"], score.details["units_of_one_token"]) == (11, 1)
    assert score.outcomes["example"].tolist() == list(range(11))
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    value, count = score.details["buckets"]["capitals"]
    assert (value, count) == (pytest.approx((3 - 3 * 0.3) / (6 + 9)), 6)
    assert Joint.is_diagnostic


def test_whom_joint_prediction_does_not_apply_to():
    with pytest.raises(NotApplicableError, match="causal objective predicts one token after"):
        Joint().score(JointReader([], "causal"), units(), NOISE)
    with pytest.raises(NotApplicableError, match="predicts no tokens"):
        Joint().score(JointReader([], None), units(), NOISE)
    with pytest.raises(NotApplicableError, match="every hidden unit is one token"):
        Joint().score(JointReader([[-1, -1, 1]] * 12), units(), NOISE)


def test_a_unit_outside_its_text_is_refused():
    data = units()
    data.test.loc[3, "end"] = 99
    with pytest.raises(BenchError, match=r"row 3 of test hides \[2, 99\)"):
        Joint().check(data)


class StateReader:
    """Two layers of width 2; the second is what counts."""

    def __init__(self, states, masked, removed):
        self.states = {"none": states, "mask": masked, "remove": removed}

    def mean_states(self, texts, corruption, share, noise):
        assert share == 0.15
        last = np.array(self.states[corruption], dtype=float)
        return np.stack((np.zeros_like(last) + np.arange(len(last))[:, None], last), axis=1)


def texts(count):
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(count)]})
    return Splits(frame[:0], frame, "0" * 64)


def test_change_over_variance_by_hand():
    """Features at (1, 0) and (-1, 0): variance 1. [MASK] moves by 0.5 upwards, removal by 0.1."""
    states = np.array([[1.0, 0.0], [-1.0, 0.0]] * 10)
    reader = StateReader(states, states + np.array([0, 0.5]), states + np.array([0, 0.1]))
    score = Moved().score(reader, texts(20), NOISE)
    assert score.value == pytest.approx(0.25)
    assert score.metrics["mask_change"] == (score.value, pytest.approx(0.0, abs=1e-9))
    assert score.metrics["removal_change"][0] == pytest.approx(0.01)
    assert score.details["by_layer"]["mask_change"] == [0.0, pytest.approx(0.25)]
    assert score.outcomes["outcome"].mean() == pytest.approx(0.25)


def test_another_texts_features_are_a_change_of_two():
    generator = np.random.default_rng(0)
    states, others = generator.normal(size=(2, 4_000, 2))
    score = Moved().score(StateReader(states, others, states), texts(4_000), NOISE)
    assert score.value == pytest.approx(2, abs=0.1)
    assert score.metrics["removal_change"][0] == 0


def test_equal_features_everywhere_are_not_applicable():
    states = np.ones((20, 2))
    with pytest.raises(NotApplicableError, match="same features"):
        Moved().score(StateReader(states, states, states), texts(20), NOISE)


def test_the_conformance_kit_expects_no_chance_level_of_a_diagnostic():
    from bench.testing.checks.tasks import check_planted_features, check_random_features
    from bench.testing.findings import Inapplicable

    for check in (check_random_features, check_planted_features):
        with pytest.raises(Inapplicable, match="the task is a diagnostic"):
            check(Moved())
