from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.retrieval import Retrieval, ndcg, normalized_gain
from bench.probing.task import Features, Splits

NOISE = Noise(0, 0, torch.arange(1))


class Find(Retrieval):
    name, summary, source = "find", "", ""

    def load(self, data):
        raise NotImplementedError


class TopicReader:
    """Layer 1 with the last pooling encodes the topic; the rest is noise."""

    def __init__(self, knows=True):
        self.knows = knows

    def features(self, texts, spans=None):
        pooled = np.stack(
            [
                np.random.default_rng(zlib.crc32(text.encode())).normal(size=(2, 3, 24))
                for text in texts
            ]
        ).astype(np.float32)
        for i, text in enumerate(texts):
            if self.knows:
                topic = int(text.split(" ")[0].removeprefix("topic"))
                pooled[i, 1, 2] = np.eye(24)[topic] + 0.05 * pooled[i, 1, 2]
        return Features(pooled, None, 1)


def topics(num_queries=60):
    documents = pd.DataFrame(
        {"id": [f"d{i}" for i in range(120)], "text": [f"topic{i % 24} doc{i}" for i in range(120)]}
    )
    queries = pd.DataFrame({"text": [f"topic{i % 24} query{i}" for i in range(num_queries)]})
    queries["relevant"] = [[f"d{i % 24 + 24 * k}" for k in range(5)] for i in range(num_queries)]
    return Splits(documents, queries, "0" * 64)


def test_documents_are_ranked_by_the_features_of_their_topic():
    score = Find().score(TopicReader(), topics(), NOISE)
    assert score.value == 1.0
    assert (score.details["layer"], score.details["pooling"]) == (1, "last")
    assert np.shape(score.details["grid"]) == (2, 3)
    assert score.details["dev_queries"] == 12
    assert len(score.outcomes) == 48  # the dev queries are not reported
    assert score.details["truncated_texts"] == 2
    pd.testing.assert_frame_equal(
        Find().score(TopicReader(), topics(), NOISE).outcomes, score.outcomes
    )


def test_random_features_are_at_chance():
    score = Find().score(TopicReader(knows=False), topics(), NOISE)
    generator = np.random.default_rng(0)
    gains = dict.fromkeys(range(5), 1.0)
    guessed = [normalized_gain(generator.permutation(120)[:10], gains) for _ in range(500)]
    assert abs(score.value - np.mean(guessed)) < 3 * score.stderr


def test_ndcg_equals_scikit_learn():
    generator = np.random.default_rng(0)
    queries, documents = generator.normal(size=(20, 8)), generator.normal(size=(40, 8))
    gains = generator.integers(0, 4, (20, 40)) * (generator.random((20, 40)) < 0.3)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, documents)]
    lists = [{int(i): float(g[i]) for i in g.nonzero()[0]} for g in gains]
    ours = ndcg(queries, documents, lists)
    theirs = [ndcg_score(g[None], (u @ unit[1].T)[None], k=10) for g, u in zip(gains, unit[0],
              strict=True)]  # fmt: skip
    np.testing.assert_allclose(ours, theirs)


def test_gains_by_hand():
    assert normalized_gain(np.array([3, 1, 2]), {1: 1.0}) == pytest.approx(1 / np.log2(3))
    both = normalized_gain(np.array([1, 5, 0]), {0: 3.0, 1: 1.0})
    assert both == pytest.approx((1 + 3 / 2) / (3 + 1 / np.log2(3)))


def test_baselines_have_the_same_queries():
    data = topics()
    data.test["relevant"] = [
        dict.fromkeys(own, 2) | {"d119": None} for own in data.test["relevant"]
    ]
    baselines = Find().baselines(data, NOISE)
    score = Find().score(TopicReader(), data, NOISE)
    assert baselines["bag_of_words"].value == 1.0
    assert baselines["majority"].value < 0.3
    for baseline in baselines.values():
        assert baseline.outcomes["example"].tolist() == score.outcomes["example"].tolist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.test["relevant"][4].append("nowhere"), "row 4 .* document 'nowhere'"),
        (lambda d: d.test["relevant"][4].clear(), "row 4 .* no relevant document"),
        (lambda d: d.train.__setitem__("id", ["x"] * 120), "119 documents have the id of another"),
    ],
)
def test_unusable_data_are_refused(spoil, message):
    data = topics()
    spoil(data)
    with pytest.raises(BenchError, match=message):
        Find().check(data)
