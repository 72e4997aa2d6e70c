"""Embeddings by hand: centring, whitening, texts fewer than dimensions, and the choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.embeddings import MAX_TEXTS, choose_embedding, fit_transform
from bench.probing.families.retrieval import Retrieval
from bench.probing.families.similarity import Similarity, cosines
from bench.probing.protocol import CosineSettings
from bench.probing.task import Features, Splits
from bench.settings import from_mapping

NOISE = Noise(0, 0, torch.arange(1))


def test_raw_changes_nothing_and_centred_subtracts_the_mean():
    x = np.array([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_array_equal(fit_transform("raw", x)(x), x)
    further = np.array([[2.0, 5.0]])
    np.testing.assert_array_equal(fit_transform("centred", x)(further), [[0.0, 1.0]])


def test_whitening_by_hand_with_many_texts():
    """Variances 9 and 1 without covariance: with little shrinkage the axes get one length."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4_000, 2)) * [3.0, 1.0] + [10.0, -4.0]
    transform = fit_transform("whitened", x)
    z = transform(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.02)
    one, other = transform(np.array([[13.0, -4.0], [10.0, -3.0]]))
    assert np.linalg.norm(one) == pytest.approx(np.linalg.norm(other), rel=0.05)
    assert one @ other == pytest.approx(0, abs=0.05)


def test_whitening_equals_the_formula_of_ledoit_and_wolf():
    from sklearn.covariance import LedoitWolf

    generator = np.random.default_rng(1)
    x = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6)) + 5
    covariance = LedoitWolf().fit(x).covariance_
    centred = x - x.mean(0)
    expected = centred @ np.linalg.inv(covariance) @ centred.T
    z = fit_transform("whitened", x)(x)
    np.testing.assert_allclose(z @ z.T, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_fewer_texts_than_dimensions_give_finite_embeddings(count):
    generator = np.random.default_rng(2)
    x = generator.normal(size=(count, 64)).astype(np.float32) * 1e-4 + 30
    further = generator.normal(size=(50, 64)) * 1e-4 + 30
    for name in ("centred", "whitened"):
        z = fit_transform(name, x)(further)
        assert np.isfinite(z).all()
    if count == 30:  # no direction is enlarged without bound
        lengths = np.linalg.norm(z, axis=1)
        assert lengths.max() < 3 * lengths.min()


def test_equal_texts_and_a_dead_dimension_are_no_division_by_zero():
    x = np.tile([1.0, 2.0, 3.0], (5, 1))
    np.testing.assert_array_equal(fit_transform("whitened", x)(x), np.zeros((5, 3)))
    generator = np.random.default_rng(3)
    x = np.c_[generator.normal(size=(500, 3)), np.full(500, 7.0)]
    z = fit_transform("whitened", x)(x + np.array([0, 0, 0, 1e-9]))
    assert np.abs(z).max() < 10


def test_of_many_texts_evenly_spaced_ones_are_used():
    x = np.zeros((2 * MAX_TEXTS, 1))
    x[::2] = 1.0
    mean = fit_transform("centred", x).mean
    spaced = np.linspace(0, len(x) - 1, MAX_TEXTS).round().astype(int)
    assert mean == pytest.approx(x[spaced].mean())


def test_the_choice_takes_the_first_of_equal_scores():
    scores = {("raw", 1, 0): 0.5, ("whitened", 0, 2): 0.5}
    choice = choose_embedding(
        ("raw", "whitened"), (2, 3), lambda *at: scores.get(at, 0.1)
    ).describe()
    assert (choice["embedding"], choice["layer"], choice["pooling"]) == ("raw", 1, "mean")
    assert choice["grid"] == [[0.1, 0.1, 0.1], [0.5, 0.1, 0.1]]
    assert choice["embeddings"] == {"raw": 0.5, "whitened": 0.5}


class CommonDirection:
    """Embeddings with one large common direction and large noise on one axis of six.

    Two texts with one number have the same rest, so their centred and whitened cosine is higher.
    """

    def __init__(self, common=100.0):
        self.common = common

    def features(self, texts, spans=None):
        rows = []
        for text in texts:
            topic, noise = (int(part) for part in text.split(" "))
            rest = np.random.default_rng(topic).normal(size=5)
            loud = 40 * np.random.default_rng(1000 + noise).normal()
            rows.append(np.concatenate(([self.common + loud], rest)))
        x = np.array(rows, dtype=np.float32)
        return Features(np.tile(x[:, None, None], (1, 1, 3, 1)), None, 0)


class Alike(Similarity):
    name, summary, source = "alike", "", ""

    def load(self, data):
        raise NotImplementedError


class Find(Retrieval):
    name, summary, source = "find", "", ""

    def load(self, data):
        raise NotImplementedError


def similar_splits(num_train=200, num_test=200):
    import pandas as pd

    frames = []
    for seed, count in ((1, num_train), (2, num_test)):
        generator = np.random.default_rng(seed)
        one, other = generator.integers(0, 6, (2, count))
        noise = generator.integers(0, 10**6, (2, count))
        frames.append(
            pd.DataFrame(
                {
                    "text": [f"{a} {b}" for a, b in zip(one, noise[0], strict=True)],
                    "text_pair": [f"{a} {b}" for a, b in zip(other, noise[1], strict=True)],
                    "score": (one == other) * 5.0,
                }
            )
        )
    return Splits(*frames, "0" * 64)


def test_whitening_is_chosen_where_one_direction_hides_the_rest():
    data, values = similar_splits(), {}
    for name in ("raw", "centred", "whitened"):
        task = Alike()
        task.configure({"probe": {"embeddings": name}})
        values[name] = task.score(CommonDirection(), data, NOISE).metrics["cosine"][0]
    assert values["whitened"] > max(values["raw"], values["centred"]) + 0.05
    score = Alike().score(CommonDirection(), data, NOISE)
    assert score.details["cosine"]["embedding"] == "whitened"
    assert score.metrics["cosine"][0] == values["whitened"]


def test_the_reported_cosines_are_those_of_all_training_texts():
    """Layer, pooling and embedding come from halves; the final statistics from all pairs."""
    data, reader = similar_splits(), CommonDirection()
    task = Alike()
    task.configure({"probe": {"embeddings": "centred"}})
    value = task.score(reader, data, NOISE).metrics["cosine"][0]
    known = [*data.train["text"], *data.train["text_pair"]]
    mean = reader.features(known).pooled[:, 0, 0].astype(float).mean(0)
    u, v = (
        reader.features(list(data.test[c])).pooled[:, 0, 0].astype(float) - mean
        for c in ("text", "text_pair")
    )
    by_hand = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    from scipy.stats import spearmanr

    assert value == pytest.approx(spearmanr(by_hand, data.test["score"]).statistic)


def test_labels_of_the_test_split_choose_nothing():
    data = similar_splits()
    shuffled = data.test.assign(score=data.test["score"].to_numpy()[::-1])
    details = [
        Alike().score(CommonDirection(), Splits(data.train, test, "0" * 64), NOISE).details
        for test in (data.test, shuffled)
    ]
    assert details[0]["cosine"] == details[1]["cosine"]


def test_ten_training_pairs_are_enough():
    score = Alike().score(CommonDirection(), similar_splits(num_train=12), NOISE)
    assert np.isfinite(score.metrics["cosine"][0])


def test_retrieval_whitens_by_its_documents():
    import pandas as pd

    documents = pd.DataFrame(
        {"id": [f"d{i}" for i in range(120)], "text": [f"{i % 12} {i}" for i in range(120)]}
    )
    queries = pd.DataFrame({"text": [f"{i % 12} {500 + i}" for i in range(60)]})
    queries["relevant"] = [[f"d{i % 12 + 12 * k}" for k in range(10)] for i in range(60)]
    data, reader = Splits(documents, queries, "0" * 64), CommonDirection(common=0.0)
    score = Find().score(reader, data, NOISE)
    assert score.details["embedding"] == "whitened"
    raw = Find()
    raw.configure({"probe": {"embeddings": ("raw",)}})
    assert score.value > raw.score(reader, data, NOISE).value + 0.15
    assert raw.identity()["embeddings"] == ["raw"]


def test_cosines_by_hand():
    from bench.probing.examples import LabelledFeatures

    u = np.array([[[[3.0, 4.0]]], [[[1.0, 0.0]]]])
    v = np.array([[[[4.0, 3.0]]], [[[-2.0, 0.0]]]])
    pairs = LabelledFeatures(u, np.zeros(2), ["", ""], np.arange(2), v)
    raw = fit_transform("raw", u[:, 0, 0])
    np.testing.assert_allclose(cosines(pairs, 0, 0, raw), [24 / 25, -1.0])
    centred = fit_transform("centred", np.array([[2.0, 3.0], [2.0, 3.0]]))
    # (1, 1) with (2, 0); (-1, -3) with (-4, -3)
    np.testing.assert_allclose(cosines(pairs, 0, 0, centred), [2 / 8**0.5, 13 / (10**0.5 * 5)])


@pytest.mark.parametrize("value", ["", "white"])
def test_no_or_an_unknown_embedding_is_refused(value):
    with pytest.raises(BenchError, match=r"probe\.embeddings"):
        from_mapping(CosineSettings, {"embeddings": value}, "probe")


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(BenchError, match="not finite"):
        fit_transform("whitened", np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_clusters_are_those_of_whitened_embeddings():
    """One loud axis hides five topics on the others; only whitening makes it as quiet as they."""
    import pandas as pd

    from bench.probing.families.clustering import Clustering

    class Clusters(Clustering):
        name, summary, source = "clusters", "", ""

        def load(self, data):
            raise NotImplementedError

    frames = [
        pd.DataFrame(
            {
                "text": [f"{i % 5} {i + start}" for i in range(150)],
                "label": [i % 5 for i in range(150)],
            }
        )
        for start in (0, 5_000)
    ]
    data, reader = Splits(*frames, "0" * 64), CommonDirection(common=0.0)
    score = Clusters().score(reader, data, NOISE)
    raw = Clusters()
    raw.configure({"probe": {"embeddings": "raw"}})
    assert score.details["embedding"] == "whitened"
    assert score.value > raw.score(reader, data, NOISE).value + 0.1
