"""Regression and multilabel classification: every probe learns what the features hold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.multilabel import MultilabelClassification
from bench.probing.families.regression import TextRegression
from bench.probing.methods import Linear, ProbeData
from bench.probing.protocol import ProbeSettings, criterion_score
from bench.probing.sampling import random_labels
from bench.probing.targets import constant_labels, constant_loss, encode_labels
from bench.probing.task import Features, Splits

NOISE = Noise(0, 0, torch.arange(1))
NAMES = ("a", "b", "c")


class VectorReader:
    """A text is three numbers; they are the features of layer 1, and layer 0 is empty."""

    scoring: ClassVar[None] = None

    def features(self, texts, spans=None):
        vectors = np.array([[float(part) for part in text.split()] for text in texts])
        layers = np.stack((np.zeros_like(vectors), vectors), axis=1)
        return Features(np.repeat(layers[:, :, None], 3, axis=2).astype(np.float32), None, 0)


class Ratings(TextRegression):
    name, summary, source = "ratings", "", ""

    def load(self, data):
        raise NotImplementedError


class Topics(MultilabelClassification):
    name, summary, source = "topics", "", ""

    def load(self, data):
        raise NotImplementedError


def vectors(count, seed):
    return np.random.default_rng(seed).standard_normal((count, 3)).round(4)


def splits(of_vector, column, sizes=(300, 100)):
    frames = []
    for seed, count in enumerate(sizes):
        rows = vectors(count, seed)
        values = [of_vector(row) for row in rows]
        frames.append(
            pd.DataFrame({"text": [" ".join(map(str, row)) for row in rows], column: values})
        )
    return Splits(frames[0], frames[1], "0" * 64)


def ratings():
    return splits(lambda row: 2 * row[0] - row[1] + 3, "score")


def topics():
    return splits(lambda row: [n for n, x in zip(NAMES, row, strict=True) if x > 0.3], "labels")


@pytest.mark.parametrize("probe", ["linear", "mlp", "knn"])
def test_numbers_of_texts(probe):
    task = Ratings()
    task.probe = probe
    score = task.score(VectorReader(), ratings(), NOISE)
    assert list(score.metrics) == ["spearman", "r2"]
    assert min(value for value, _ in score.metrics.values()) > (0.6 if probe == "knn" else 0.9)
    assert {"outcome", "r2"} <= set(score.outcomes)


@pytest.mark.parametrize("probe", ["linear", "mlp", "knn"])
def test_labels_of_texts(probe):
    task = Topics()
    task.probe = probe
    score = task.score(VectorReader(), topics(), NOISE)
    assert list(score.metrics) == ["micro_f1", "macro_f1", "lrap"]
    assert min(value for value, _ in score.metrics.values()) > 0.85
    assert score.details["selectivity"] > 0.4
    assert score.details["layer"] in (1, [0, 1])


def test_r2_is_one_minus_the_share_of_the_error():
    from sklearn.metrics import r2_score

    examples = ratings()
    guess = examples.test["score"].to_numpy() * 0.7 + vectors(100, 5)[:, 0]
    score = Ratings().score_predictions(examples, guess, {})
    assert score.metrics["r2"][0] == pytest.approx(r2_score(examples.test["score"], guess))


def test_one_fit_of_all_labels_equals_one_regression_a_label():
    from sklearn.linear_model import LogisticRegression

    x = vectors(200, 0)
    y = (x + vectors(200, 1) > 0).astype(float)
    y[:, 2] = 1.0  # a label that every text has
    data = ProbeData(x, y, np.arange(200) < 40, NOISE, ProbeSettings())
    fitted = Linear().fit(data, 1.0).predict(x)
    for label in (0, 1):
        expected = LogisticRegression(C=1.0, tol=1e-8).fit(x, y[:, label]).predict_proba(x)[:, 1]
        assert fitted[:, label] == pytest.approx(expected, abs=2e-3)
    assert fitted[:, 2].min() > 0.9


def test_targets_of_label_sets():
    names, y, test = encode_labels([("a",), ("b", "a"), ()], [("c", "b"), ("a",)])
    assert names is not None
    assert names.tolist() == ["a", "b"]
    assert y.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert test.tolist() == [[0, 1], [1, 0]]
    assert criterion_score(y - 0.1, y, "matthews") == pytest.approx(1.0)
    assert constant_loss(torch.tensor([[1.0], [0.0]])) == pytest.approx(np.log(2))
    drawn, _ = random_labels(["x", "y", "x"], ["z"], y, NOISE)
    assert drawn.shape == (3, 2)
    assert drawn[0].tolist() == drawn[2].tolist()
    best = constant_labels([("a",), ("a", "b"), ("a",), ("c",)], 2)
    assert best.columns.tolist() == ["a", "b", "c"]
    assert (best >= 0.5).to_numpy().tolist() == [[True, False, False]] * 2


@pytest.mark.parametrize(
    ("task", "examples", "message"),
    [
        (Ratings(), splits(lambda row: "x", "score"), "every score must be a number"),
        (Ratings(), splits(lambda row: 1.0, "score"), "needs different scores"),
        (Topics(), splits(lambda row: [], "labels"), "no text of the train split has a label"),
        (Topics(), splits(lambda row: ["a"], "labels"), "needs at least two classes"),
    ],
)
def test_unusable_examples_are_refused(task, examples, message):
    with pytest.raises(BenchError, match=message):
        task.check(examples)
