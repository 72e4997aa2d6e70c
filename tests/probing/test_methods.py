"""Each method against the known structure of the data, and against scikit-learn by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from bench.pretraining.noise import Noise
from bench.probing.methods import Linear, Neighbours, Perceptron, ProbeData, method_of, vote
from bench.probing.protocol import ProbeSettings
from bench.probing.readouts import standardise

NOISE = Noise(3, 0, torch.arange(1))
SETTINGS = ProbeSettings()


def data_of(x, y, settings=SETTINGS, is_dev=None, criterion="accuracy"):
    is_dev = np.zeros(len(x), dtype=bool) if is_dev is None else is_dev
    return ProbeData(x, y, is_dev, NOISE, settings, criterion)


def crossed(count, seed):
    """Whether two signs are equal, which no linear probe can predict; and a number like it."""
    x = np.random.default_rng(seed).normal(size=(count, 3))
    agreement = x[:, 0] * x[:, 1] / (x**2).sum(1)
    return x, (agreement > 0).astype(int), agreement


def run(method, numbers=False, count=320):
    x, equal, agreement = crossed(count, 1)
    y = agreement if numbers else equal
    is_dev = np.arange(count) % 5 == 0
    criterion = "spearman" if numbers else "accuracy"
    data = data_of(x, y, is_dev=is_dev, criterion=criterion)
    parameter, tried = method.choose(data)
    further, equal, agreement = crossed(300, 2)
    return method.fit(data, parameter).predict(further), equal, agreement, tried


@pytest.mark.parametrize("probe", ["mlp", "knn"])
def test_classes_that_are_not_linear(probe):
    predicted, targets, _, tried = run(method_of(probe))
    assert (predicted == targets).mean() > 0.8
    assert len(tried) >= 3
    predicted, targets, _, _ = run(Linear())
    assert (predicted == targets).mean() < 0.65


@pytest.mark.parametrize("probe", ["mlp", "knn"])
def test_numbers(probe):
    predicted, _, targets, _ = run(method_of(probe), numbers=True)
    assert np.corrcoef(predicted, targets)[0, 1] > 0.7


def test_ridge_equals_scikit_learn():
    generator = np.random.default_rng(0)
    for rows, width in ((50, 5), (20, 40)):  # either of the two systems that are solved
        x, y = generator.normal(size=(rows, width)) + 3, generator.normal(size=rows)
        predicted = Linear().fit(data_of(x, y), 0.1).predict(x)
        np.testing.assert_allclose(predicted, Ridge(alpha=10.0).fit(x, y).predict(x), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 10])
def test_neighbours_equal_scikit_learn(k):
    x, y, numbers = crossed(200, 3)
    further, _, _ = crossed(100, 4)
    predicted = Neighbours().fit(data_of(x, y), k).predict(further)
    theirs = KNeighborsClassifier(k, metric="cosine").fit(x, y)
    is_tied = np.isclose(theirs.predict_proba(further).max(1), 0.5)
    assert (predicted == theirs.predict(further))[~is_tied].all()
    predicted = Neighbours().fit(data_of(x, numbers), k).predict(further)
    theirs = KNeighborsRegressor(k, metric="cosine").fit(x, numbers)
    np.testing.assert_allclose(predicted, theirs.predict(further))


def test_a_tie_goes_to_the_nearer_neighbours():
    labels = np.array([[0, 1], [1, 0], [1, 0]])
    closeness = np.array([[0.9, 0.1], [0.9, 0.1], [-0.1, -0.9]])
    assert vote(labels, closeness).tolist() == [0, 1, 1]


def test_the_hidden_layer_is_the_same_every_time_and_leaves_global_randomness_alone():
    state = torch.random.get_rng_state()
    one, other = run(Perceptron(), count=100), run(Perceptron(), count=100)
    np.testing.assert_array_equal(one[0], other[0])
    assert one[3] == other[3]
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_fit_of_many_classes_stops_early_and_reports_it():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 10))
    y = (x @ generator.normal(size=(10, 30))).argmax(1)
    settings = ProbeSettings(max_work=300 * 10 * len(np.unique(y)) * 25)
    report = Linear().fit(data_of(x, y, settings), 1e3).report
    assert (report["iterations"], report["converged"]) == (25, False)
    assert Linear().fit(data_of(x, y), 1e-3).report["converged"]
    assert LogisticRegression(C=1e3, max_iter=2000).fit(x, y).n_iter_.max() > 25


def test_words_as_classes_give_no_warning():
    x, y = np.eye(6), np.array([0, 1, 2, 3, 4, 0])  # scikit-learn suspects numbers, and warns
    assert (Linear().fit(data_of(x, y), 1e3).predict(x) == y).all()


def test_standardising_uses_the_statistics_of_the_first():
    x, further = standardise(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 9.0]]))
    assert x.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert further.tolist() == [[3.0, 0.0]]
