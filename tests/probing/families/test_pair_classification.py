"""Pair classification and similarity, with a reader of known features."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.similarity import Similarity
from bench.probing.task import POOLINGS, Features, Splits

NOISE = Noise(0, 0, torch.arange(1))
WIDTH = 12


class Same(PairClassification):
    name, summary, source, chance = "same", "", "", 0.5

    def load(self, data):
        raise NotImplementedError


class SameF1(Same):
    metric: ClassVar[str] = "f1"


class SameMatthews(Same):
    metric: ClassVar[str] = "matthews"


class Near(Similarity):
    name, summary, source = "near", "", ""

    def load(self, data):
        raise NotImplementedError


def vector(seen):
    digest = hashlib.sha256(seen.encode()).digest()
    return np.frombuffer(digest, dtype=np.uint8)[:WIDTH].astype(np.float32) / 255 - 0.5


def place(text):
    """The text's place on a half circle, by its number."""
    angle = int(text.split(" ")[0][1:]) * np.pi / 20
    return np.pad([np.cos(angle), np.sin(angle)], (0, WIDTH - 2)).astype(np.float32)


class PairReader:
    """Layer 0 is noise; layer 1 encodes the first word, by `know`, or the requested word."""

    scoring = None

    def __init__(self, know=lambda text: vector(text.split(" ")[0])):
        self.know = know
        self.requests = []

    def features(self, texts, spans=None):
        words = [None] * len(texts) if spans is None else [tuple(own) for own in spans]
        self.requests += zip(texts, words, strict=True)
        pooled = [
            [np.tile(vector(text), (3, 1)), np.tile(self.know(text), (3, 1))] for text in texts
        ]
        vectors = [
            [vector(text), vector(text[slice(*span)])]
            for text, own in zip(texts, words, strict=True)
            for span in own or ()
        ]
        if spans is None:
            return Features(np.array(pooled), None, 0)
        return Features(np.array(pooled), np.repeat(np.array(vectors)[:, :, None], 3, axis=2), 0)


def pair_frame(count, seed, kinds=4):
    """The label says whether both texts begin with the same word."""
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, kinds, (2, count))
    second = np.where(generator.random(count) < 0.4, first, second)
    tails = generator.integers(0, 10**6, (2, count))
    return pd.DataFrame(
        {
            "text": [f"w{a} {b}" for a, b in zip(first, tails[0], strict=True)],
            "text_pair": [f"w{a} {b}" for a, b in zip(second, tails[1], strict=True)],
            "label": (first == second).astype(int),
        }
    )


def pair_splits(train=400, test=200):
    return Splits(pair_frame(train, 1), pair_frame(test, 2), "0" * 64)


def test_the_label_of_a_pair_is_predicted_from_shared_features():
    reader = PairReader()
    score = Same().score(reader, pair_splits(), NOISE)
    assert score.value > 0.95
    assert score.details["layer"] == 1
    assert score.details["selectivity"] > 0.2
    again = Same().score(PairReader(), pair_splits(), NOISE)
    assert again.details == score.details
    pd.testing.assert_frame_equal(again.outcomes, score.outcomes)


@pytest.mark.slow
def test_random_features_are_at_chance():
    data = pair_splits(test=600)
    score = Same().score(PairReader(vector), data, NOISE)
    best = max(data.test["label"].mean(), 1 - data.test["label"].mean())
    assert abs(score.value - best) < 3 * score.stderr + 0.03  # the majority is the best prediction


@pytest.mark.parametrize("task", [Same, SameF1, SameMatthews])
def test_the_score_equals_scikit_learn_by_hand(task):
    data = pair_splits(300, 150)
    reader = PairReader(lambda text: vector(text.split(" ")[0]) + 0.7 * vector(text))
    one_layer = task()
    one_layer.configure({"probe": {"readouts": "layer"}})
    score = one_layer.score(reader, data, NOISE)
    layer, pooling = score.details["layer"], POOLINGS.index(score.details["pooling"])
    rows = []
    for frame in (data.train, data.test):
        u, v = (
            reader.features(list(frame[c])).pooled[:, layer, pooling].astype(float)
            for c in ("text", "text_pair")
        )
        rows.append(np.concatenate((u, v, np.abs(u - v), u * v), axis=1))
    scaler = StandardScaler().fit(rows[0])
    model = LogisticRegression(C=score.details["c"], max_iter=500)
    model.fit(scaler.transform(rows[0]), data.train["label"])
    predicted = model.predict(scaler.transform(rows[1]))
    import sklearn.metrics as metrics

    by_hand = {
        "accuracy": metrics.accuracy_score,
        "f1": metrics.f1_score,
        "matthews": metrics.matthews_corrcoef,
    }[task.metric](data.test["label"], predicted)
    assert score.value == pytest.approx(by_hand)
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert (list(score.metrics) == ["f1", "accuracy"]) == (task is SameF1)


def test_a_label_about_one_word_of_each_text():
    frames = []
    for frame in (pair_splits().train, pair_splits().test):
        spans = [(text.index(" ") - 1, text.index(" ")) for text in frame["text"]]
        others = [(text.index(" ") - 1, text.index(" ")) for text in frame["text_pair"]]
        frames.append(frame.assign(span=spans, span_pair=others))
    reader = PairReader(vector)
    score = Same().score(reader, Splits(*frames, "0" * 64), NOISE)
    assert score.value > 0.95
    assert score.details["poolings"] == ["mean", "first", "last"]
    assert reader.requests[0] == (frames[0]["text"][0], ((1, 2),))
    frames[1].at[3, "span_pair"] = (0, 99)
    with pytest.raises(BenchError, match=r"row 3 of test has span_pair \[0, 99\)"):
        Same().check(Splits(*frames, "0" * 64))


@pytest.mark.slow
def test_a_leak_is_a_pair_not_a_text():
    data = pair_splits(100, 50)
    data.test.loc[:9, "text"] = data.train["text"][:10]
    assert Same().score(PairReader(), data, NOISE).details["leak"]["share"] == 0.0
    data.test.loc[:9, "text_pair"] = data.train["text_pair"][:10]
    assert Same().score(PairReader(), data, NOISE).details["leak"]["share"] == 0.2


def test_the_bag_of_two_texts_has_their_shared_words():
    baselines = Same().baselines(pair_splits(), NOISE)
    assert list(baselines) == ["majority", "bag_of_words"]
    assert baselines["bag_of_words"].value > 0.9
    assert baselines["majority"].value < 0.7


def similar_frame(count, seed):
    """Numbers on a half circle; near numbers are similar."""
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, 20, (2, count))
    tails = generator.integers(0, 10**6, (2, count))
    return pd.DataFrame(
        {
            "text": [f"n{a} {b}" for a, b in zip(first, tails[0], strict=True)],
            "text_pair": [f"n{a} {b}" for a, b in zip(second, tails[1], strict=True)],
            "score": 5 - np.abs(first - second) / 4,
        }
    )


def similar_splits(train=300, test=150):
    return Splits(similar_frame(train, 1), similar_frame(test, 2), "0" * 64)


def test_both_metrics_measure_similarity():
    score = Near().score(PairReader(place), similar_splits(), NOISE)
    assert list(score.metrics) == ["ridge", "cosine"]
    assert score.metrics["ridge"] == (score.value, score.stderr)
    assert min(score.value, score.metrics["cosine"][0]) > 0.95
    assert score.details["layer"] == score.details["cosine"]["layer"] == 1
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert score.outcomes["cosine"].mean() == pytest.approx(score.metrics["cosine"][0])


def test_similarity_of_random_features_is_at_chance():
    score = Near().score(PairReader(vector), similar_splits(), NOISE)
    for value, stderr in score.metrics.values():
        assert abs(value) < 3 * stderr


def test_ridge_equals_scikit_learn_by_hand():
    data, reader = similar_splits(), PairReader(lambda text: place(text) + 0.5 * vector(text))
    score = Near().score(reader, data, NOISE)
    rows = []
    for frame in (data.train, data.test):
        u, v = (
            reader.features(list(frame[c])).pooled[:, score.details["layer"], 0].astype(float)
            for c in ("text", "text_pair")
        )
        rows.append(np.concatenate((np.abs(u - v), u * v), axis=1))
    scaler = StandardScaler().fit(rows[0])
    model = Ridge(alpha=1 / score.details["c"]).fit(scaler.transform(rows[0]), data.train["score"])
    predicted = model.predict(scaler.transform(rows[1]))
    assert score.value == pytest.approx(spearmanr(predicted, data.test["score"]).statistic)
    assert 0.2 < score.value < 0.97


@pytest.mark.parametrize("probe", ["mlp", "knn"])
def test_every_other_probe_has_one_metric(probe):
    task = Near()
    task.probe = probe
    score = task.score(PairReader(place), similar_splits(), NOISE)
    assert score.metrics == {}
    assert score.value > 0.8
    assert task.identity()["probe"] == probe != Near().identity()["probe"]


def test_baselines_of_similarity():
    baselines = Near().baselines(similar_splits(), NOISE)
    assert baselines["majority"].value == 0.0
    assert baselines["bag_of_words"].value > 0.2  # equal numbers are equal words


@pytest.mark.parametrize(
    ("scores", "message"),
    [(["a"] * 300, "'a'; every score must be a"), (1.0, "needs different scores")],
)
def test_scores_that_cannot_be_ranked_are_refused(scores, message):
    data = similar_splits()
    data.train["score"] = scores
    with pytest.raises(BenchError, match=message):
        Near().check(data)
