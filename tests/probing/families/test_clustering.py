"""Clusters of features against labels: k-means and the V-measure."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import v_measure_score

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.clustering import Clustering, clustering_score
from bench.probing.metrics import ratio, v_counts
from bench.probing.task import Features, Splits

NOISE = Noise(0, 0, torch.arange(1))
labels = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 4)), min_size=2, max_size=80)


class Group(Clustering):
    name, summary, source = "group", "", ""

    def load(self, data):
        raise NotImplementedError


class TopicReader:
    """Layer 1 with the last pooling encodes the topic, with some noise; the rest is noise."""

    def __init__(self, spread=0.05):
        self.spread = spread

    def features(self, texts, spans=None):
        pooled = np.empty((len(texts), 2, 3, 16), dtype=np.float32)
        for i, text in enumerate(texts):
            generator = np.random.default_rng(zlib.crc32(text.encode()))
            pooled[i] = generator.normal(size=(2, 3, 16))
            topic = np.eye(16)[int(text.split(" ")[0].removeprefix("topic"))]
            length = 1 + 9 * generator.random()  # only the direction counts
            pooled[i, 1, 2] = length * (topic + self.spread * pooled[i, 1, 2])
        return Features(pooled, None, 1)


def topics(count=120, num_topics=4):
    def frame(part):
        rows = [(f"topic{i % num_topics} {part} {i}", f"t{i % num_topics}") for i in range(count)]
        return pd.DataFrame(rows, columns=["text", "label"])

    return Splits(frame("train"), frame("test"), "0" * 64)


@given(labels)
@hypothesis_settings(max_examples=80)
def test_the_v_measure_is_that_of_scikit_learn(pairs: list[tuple[str, int]]) -> None:
    true, own = zip(*pairs, strict=True)
    score = clustering_score(true, [np.array(own)], {})
    if len(set(true)) == len(set(own)) == 1:
        assert score.value == 0.0  # 0 / 0, which scikit-learn calls 1
        return
    assert score.value == pytest.approx(v_measure_score(true, own), abs=1e-12)
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value, abs=1e-12)


def test_the_error_is_that_of_a_bootstrap() -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(0, 5, 800)
    own = np.where(generator.random(800) < 0.6, true, generator.integers(0, 5, 800))
    score = clustering_score([str(x) for x in true], [own], {})
    drawn = [generator.integers(0, 800, 800) for _ in range(400)]
    spread = np.std([v_measure_score(true[rows], own[rows]) for rows in drawn])
    assert score.stderr == pytest.approx(spread, rel=0.15)


def test_texts_are_clustered_at_the_layer_that_is_best_on_train() -> None:
    data = topics()
    score = Group().score(TopicReader(), data, NOISE)
    assert (score.details["layer"], score.details["pooling"]) == (1, "last")
    assert np.shape(score.details["grid"]) == (2, 3)
    assert score.value > 0.8  # some starts end in a local optimum
    assert max(score.details["start_values"]) == pytest.approx(1.0)
    assert len(score.details["start_values"]) == 10
    assert len(score.outcomes) == 120
    assert score.details["truncated_texts"] == 2
    again = Group().score(TopicReader(), data, NOISE)
    pd.testing.assert_frame_equal(again.outcomes, score.outcomes)


def test_each_start_is_k_means_of_scikit_learn() -> None:
    data = topics()
    reader = TopicReader(spread=0.6)
    score = Group().score(reader, data, NOISE)
    layer, pooling = (
        score.details["layer"],
        ("mean", "first", "last").index(score.details["pooling"]),
    )
    x = reader.features(list(data.test["text"])).pooled[:, layer, pooling].astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    values = [
        v_measure_score(
            data.test["label"],
            KMeans(4, n_init=1, max_iter=100, random_state=seed).fit_predict(x),
        )
        for seed in range(10)
    ]
    assert score.details["start_values"] == pytest.approx(values)
    assert score.value == pytest.approx(np.mean(values))
    assert 0.1 < score.value < 0.95


def test_random_features_are_at_the_chance_level() -> None:
    data = topics(num_topics=12)
    task = Group()
    task.configure({"probe": {"screen_examples": 50}})
    reader = TopicReader(spread=1e4)
    score = task.score(reader, data, NOISE)
    assert score.details["dev_texts"] == 50
    chance = task.chance_of(data)
    assert chance > 0.1  # it is no zero: the V-measure is not adjusted for chance
    assert score.value == pytest.approx(chance, abs=3 * score.stderr + 0.02)


def test_mini_batches_beyond_a_number_of_texts_and_texts_in_parts(monkeypatch) -> None:
    from bench.probing.families import clustering

    task, data = Group(), topics()
    whole = task.score(TopicReader(), data, NOISE)
    monkeypatch.setattr(clustering, "PART_TEXTS", 7)
    parts = task.score(TopicReader(), data, NOISE)
    pd.testing.assert_frame_equal(parts.outcomes, whole.outcomes)
    task.configure({"probe": {"full_examples": 100}})
    assert task.score(TopicReader(), data, NOISE).value > 0.7


def test_baselines_are_one_cluster_and_tf_idf() -> None:
    data = topics()
    baselines = Group().baselines(data, NOISE)
    assert list(baselines) == ["majority", "bag_of_words"]
    assert (baselines["majority"].value, baselines["majority"].stderr) == (0.0, 0.0)
    assert baselines["bag_of_words"].value > Group().chance_of(data) + 0.1
    assert ratio(*v_counts(["a", "b"], np.array([0, 0]))) == 0.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.assign(label="x"), "all 120 labels of the test split are 'x'; clustering"),
        (lambda f: f.assign(label=list(map(str, range(120)))), "120 texts with 120 different"),
        (lambda f: f.drop(columns="label"), r"test split lacks the columns \['label'\]"),
        (lambda f: f.assign(text=[" ", *f["text"][1:]]), "1 of 120 rows .* blank text, .* row 0"),
        (lambda f: f[:5], "has 5 rows, but at least 10"),
    ],
)
def test_unusable_data_are_refused(spoil, message) -> None:
    data = topics()
    data = dataclasses.replace(data, test=spoil(data.test))
    with pytest.raises(BenchError, match=message):
        Group().check(data)


def test_features_that_are_not_finite_are_refused() -> None:
    class Diverged(TopicReader):
        def features(self, texts, spans=None):
            features = super().features(texts)
            features.pooled[0] = np.nan
            return features

    with pytest.raises(BenchError, match="not finite"):
        Group().score(Diverged(), topics(), NOISE)
