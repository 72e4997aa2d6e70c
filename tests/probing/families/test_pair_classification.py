"""Pair classification and similarity, with a reader whose knowledge is known."""

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
    """On a half circle, by the text's number."""
    angle = int(text.split(" ")[0][1:]) * np.pi / 20
    return np.pad([np.cos(angle), np.sin(angle)], (0, WIDTH - 2)).astype(np.float32)


class PairReader:
    """Layer 0 is noise; layer 1 knows the first word, by `know`. Words: what they are."""

    scoring = None

    def __init__(self, know=lambda text: vector(text.split(" ")[0])):
        self.know = know
        self.asked = []

    def features(self, texts, spans=None):
        words = [None] * len(texts) if spans is None else [tuple(own) for own in spans]
        self.asked += zip(texts, words, strict=True)
        pooled = [
            [np.tile(vector(text), (3, 1)), np.tile(self.know(text), (3, 1))] for text in texts
        ]
        read = [
            [vector(text), vector(text[slice(*span)])]
            for text, own in zip(texts, words, strict=True)
            for span in own or ()
        ]
        return Features(np.array(pooled), None if spans is None else np.array(read), 0)


def pair_frame(count, seed, kinds=4):
    """Do both begin with the same word?"""
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


def test_what_two_texts_share_is_found():
    reader = PairReader()
    score = Same().score(reader, pair_splits(), NOISE)
    assert score.value > 0.95
    assert score.details["layer"] == 1
    assert score.details["selectivity"] > 0.2
    again = Same().score(PairReader(), pair_splits(), NOISE)
    assert again.details == score.details
    pd.testing.assert_frame_equal(again.outcomes, score.outcomes)


def test_features_of_nothing_are_at_chance():
    data = pair_splits(test=600)
    score = Same().score(PairReader(vector), data, NOISE)
    best = max(data.test["label"].mean(), 1 - data.test["label"].mean())
    assert abs(score.value - best) < 3 * score.stderr + 0.03  # a majority is all it can know


@pytest.mark.parametrize("task", [Same, SameF1, SameMatthews])
def test_the_score_is_that_of_scikit_learn_by_hand(task):
    data = pair_splits(300, 150)
    reader = PairReader(lambda text: vector(text.split(" ")[0]) + 0.7 * vector(text))
    score = task().score(reader, data, NOISE)
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
    found = model.predict(scaler.transform(rows[1]))
    import sklearn.metrics as metrics

    by_hand = {
        "accuracy": metrics.accuracy_score,
        "f1": metrics.f1_score,
        "matthews": metrics.matthews_corrcoef,
    }[task.metric](data.test["label"], found)
    assert score.value == pytest.approx(by_hand)
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert (list(score.metrics) == ["f1", "accuracy"]) == (task is SameF1)


def test_a_word_is_asked_in_each_of_two_texts():
    frames = []
    for frame in (pair_splits().train, pair_splits().test):
        spans = [(text.index(" ") - 1, text.index(" ")) for text in frame["text"]]
        others = [(text.index(" ") - 1, text.index(" ")) for text in frame["text_pair"]]
        frames.append(frame.assign(span=spans, span_pair=others))
    reader = PairReader(vector)
    score = Same().score(reader, Splits(*frames, "0" * 64), NOISE)
    assert score.value > 0.95
    assert score.details["pooling"] == "first sub-token"
    assert reader.asked[0] == (frames[0]["text"][0], ((1, 2),))
    frames[1].at[3, "span_pair"] = (0, 99)
    with pytest.raises(BenchError, match=r"row 3 of test has span_pair \[0, 99\)"):
        Same().check(Splits(*frames, "0" * 64))


def test_a_leak_is_a_pair_not_a_text():
    data = pair_splits(100, 50)
    data.test.loc[:9, "text"] = data.train["text"][:10]
    assert Same().score(PairReader(), data, NOISE).details["leak"]["share"] == 0.0
    data.test.loc[:9, "text_pair"] = data.train["text_pair"][:10]
    assert Same().score(PairReader(), data, NOISE).details["leak"]["share"] == 0.2


def test_the_bag_of_two_texts_sees_what_they_share():
    baselines = Same().baselines(pair_splits(), NOISE)
    assert list(baselines) == ["majority", "bag_of_words"]
    assert baselines["bag_of_words"].value > 0.9
    assert baselines["majority"].value < 0.7


def similar_frame(count, seed):
    """Numbers on a half circle; the nearer, the more alike."""
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


def test_likeness_is_found_by_both_readings():
    score = Near().score(PairReader(place), similar_splits(), NOISE)
    assert list(score.metrics) == ["ridge", "cosine"]
    assert score.metrics["ridge"] == (score.value, score.stderr)
    assert min(score.value, score.metrics["cosine"][0]) > 0.95
    assert score.details["layer"] == score.details["cosine"]["layer"] == 1
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert score.outcomes["cosine"].mean() == pytest.approx(score.metrics["cosine"][0])


def test_likeness_of_nothing_is_at_chance():
    score = Near().score(PairReader(vector), similar_splits(), NOISE)
    for value, stderr in score.metrics.values():
        assert abs(value) < 3 * stderr


def test_ridge_is_that_of_scikit_learn_by_hand():
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
    found = model.predict(scaler.transform(rows[1]))
    assert score.value == pytest.approx(spearmanr(found, data.test["score"]).statistic)
    assert 0.2 < score.value < 0.97


@pytest.mark.parametrize("probe", ["mlp", "knn"])
def test_every_other_way_has_one_reading(probe):
    task = Near()
    task.probe = probe
    score = task.score(PairReader(place), similar_splits(), NOISE)
    assert score.metrics == {}
    assert score.value > 0.8
    assert task.identity()["probe"] == probe != Near().identity()["probe"]


def test_controls_of_similarity():
    baselines = Near().baselines(similar_splits(), NOISE)
    assert baselines["majority"].value == 0.0
    assert baselines["bag_of_words"].value > 0.2  # equal numbers are equal words


@pytest.mark.parametrize(
    ("scores", "message"), [(["a"] * 300, "'a'; numbers are wanted"), (1.0, "nothing can be rank")]
)
def test_scores_that_rank_nothing_are_refused(scores, message):
    data = similar_splits()
    data.train["score"] = scores
    with pytest.raises(BenchError, match=message):
        Near().check(data)
