from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.baselines import bm25
from bench.probing.families import retrieval
from bench.probing.families.retrieval import Retrieval, Search, unit
from bench.probing.ranking import METRICS, BestDocuments, normalized_gain
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
    queries, documents = (unit(generator.normal(size=(n, 8))) for n in (20, 40))
    gains = generator.integers(0, 4, (20, 40)) * (generator.random((20, 40)) < 0.3)
    lists = [{f"d{i}": float(g[i]) for i in g.nonzero()[0]} for g in gains]
    splits = Splits(
        pd.DataFrame({"id": [f"d{i}" for i in range(40)], "text": ["x"] * 40}),
        pd.DataFrame({"text": ["x"] * 20, "relevant": lists}),
        "0" * 64,
    )
    search, order = Search(splits), sorted(range(40), key=lambda i: f"d{i}", reverse=True)
    best = BestDocuments(20)
    search.add(best, queries, documents[order], 0)
    ours = search.result(best.ranking(), np.arange(20), {}).outcomes["outcome"]
    theirs = [ndcg_score(g[None], (u @ documents.T)[None], k=10)
              for g, u in zip(gains, queries, strict=True)]  # fmt: skip
    np.testing.assert_allclose(ours, theirs)


def test_all_three_metrics_have_outcomes_and_errors():
    score = Find().score(TopicReader(knows=False), topics(), NOISE)
    assert tuple(score.metrics) == METRICS
    assert score.metrics["ndcg@10"] == (score.value, score.stderr)
    for name in METRICS[1:]:
        own = score.outcomes[name]
        assert score.metrics[name] == pytest.approx((own.mean(), own.std() / len(own) ** 0.5))
    assert score.metrics["recall@100"][0] > score.value


def test_documents_in_parts_and_in_another_order_have_the_same_scores(monkeypatch):
    data, reader = topics(), TopicReader(knows=False)
    whole = Find().score(reader, data, NOISE)
    shuffled = dataclasses.replace(data, train=data.train.iloc[::-1].reset_index(drop=True))
    monkeypatch.setattr(retrieval, "PART_BYTES", 7 * 2 * 3 * 24 * 4)  # seven documents
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", 50)
    sizes = []
    features = reader.features
    monkeypatch.setattr(
        reader, "features", lambda texts, spans=None: (sizes.append(len(texts)), features(texts))[1]
    )
    parts = Find().score(reader, shuffled, NOISE)
    assert sizes[0] == 60  # the queries
    assert sizes[1] == 120  # the sample that mean and covariance are estimated from
    assert max(sizes[2:]) == 7
    pd.testing.assert_frame_equal(parts.outcomes, whole.outcomes)
    assert parts.details["grid"] == whole.details["grid"]
    for name, one in Find().baselines(data, NOISE).items():
        other = Find().baselines(shuffled, NOISE)[name]
        pd.testing.assert_frame_equal(one.outcomes, other.outcomes)


def test_an_excluded_document_is_in_no_ranking():
    data = topics()
    data.test["text"] = [f"topic{i % 24} doc{i}" for i in range(60)]  # documents themselves
    data.test["relevant"] = [[f"d{i % 24 + 24 * 4}"] for i in range(60)]
    with_it = Find().baselines(data, NOISE)
    data.test["excluded"] = [f"d{i}" for i in range(60)]
    without = Find().baselines(data, NOISE)
    for name in ("bag_of_words", "bm25"):
        gain = without[name].metrics["mrr@10"][0] - with_it[name].metrics["mrr@10"][0]
        assert gain > 0.1, name
    data.test["relevant"] = [[f"d{i}"] for i in range(60)]
    with pytest.raises(BenchError, match=r"row 0 .* excludes document 'd0', which is relevant"):
        Find().check(data)


def test_bm25_by_hand():
    documents = ["red apple", "red red pear of a tree", "plum", "红苹果"]
    scores = bm25(documents, ["red unheard", "nothing known"])(slice(0, 2))
    lengths = np.array([2, 6, 1, 3])  # a character of a script without spaces is a word
    counts = np.array([1, 2, 0, 0])
    weight = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    expected = weight * counts / (counts + 1.2 * (1 - 0.75 + 0.75 * lengths / lengths.mean()))
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)
    assert not scores[1].any()


def test_features_that_are_not_finite_are_refused():
    class Diverged(TopicReader):
        def features(self, texts, spans=None):
            features = super().features(texts)
            features.pooled[0] = np.nan
            return features

    with pytest.raises(BenchError, match="not finite"):
        Find().score(Diverged(), topics(), NOISE)


def test_the_chance_level_is_that_of_a_random_order():
    data = topics()
    chance = Find().chance_of(data)
    score = Find().score(TopicReader(knows=False), data, NOISE)
    assert chance == pytest.approx(score.value, abs=3 * score.stderr)
    assert chance == pytest.approx(5 / 120 * 4.5436 / 2.9485, rel=1e-4)


def test_baselines_have_the_same_queries():
    data = topics()
    data.test["relevant"] = [
        dict.fromkeys(own, 2) | {"d119": None} for own in data.test["relevant"]
    ]
    baselines = Find().baselines(data, NOISE)
    score = Find().score(TopicReader(), data, NOISE)
    assert baselines["bag_of_words"].value == 1.0
    assert list(baselines) == ["majority", "bag_of_words", "bm25"]
    assert baselines["bm25"].value == 1.0
    assert baselines["majority"].value < 0.3
    for baseline in baselines.values():
        assert baseline.outcomes["example"].tolist() == score.outcomes["example"].tolist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.test["relevant"][4].append("nowhere"), "row 4 .* document 'nowhere'"),
        (lambda d: d.test["relevant"][4].clear(), "row 4 .* no relevant document"),
        (lambda d: d.test.__setitem__("text", [" ", *["x"] * 59]), "row 0 .* has no text"),
        (lambda d: d.train.__setitem__("id", ["x"] * 120), "119 documents have the id of another"),
    ],
)
def test_unusable_data_are_refused(spoil, message):
    data = topics()
    spoil(data)
    with pytest.raises(BenchError, match=message):
        Find().check(data)
