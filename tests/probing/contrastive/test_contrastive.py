"""The contrastive stage: pairs by hand, the loss by hand, and its place in the families."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.corpus.store import StoreWriter
from bench.corpus.trainer import train_tokenizer
from bench.pretraining.encoder import Encoder
from bench.pretraining.noise import Noise
from bench.probing.contrastive.pairs import corpus_pairs
from bench.probing.contrastive.settings import ContrastiveSettings
from bench.probing.contrastive.training import Stage, after_contrastive, info_nce
from bench.probing.families.classification import TextClassification
from bench.probing.families.clustering import Clustering
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.families.retrieval import Retrieval
from bench.probing.families.similarity import Similarity
from bench.probing.reader.reader import RunReader
from bench.probing.task import POOLINGS, NotApplicableError, Splits
from bench.spec import EncoderShape

NOISE = Noise(0, 0, torch.arange(1))
TOPICS = [[letter + vowel for vowel in "aeiouy"] for letter in "bcdfghjk"]
FEW = ContrastiveSettings(
    steps=40, batch_pairs=8, dev_pairs=32, passage_tokens=32, learning_rates=(3e-3, 2e-2)
)


def document(number: int) -> str:
    """Two sentences of one topic."""
    generator = np.random.default_rng(number)
    words = TOPICS[number % len(TOPICS)]
    sentences = (" ".join(generator.choice(words, 5)) for _ in range(2))
    return ". ".join(each.capitalize() for each in sentences) + "."


def store(folder: Path, documents: list[str], tokenizer) -> Path:
    """A prepared corpus with a training part alone."""
    (folder / "train").mkdir(parents=True)
    with StoreWriter(folder / "train", tokenizer.vocabulary) as writer:
        for text, encoded in zip(documents, tokenizer.encode(documents), strict=True):
            writer.add(text, encoded)
        writer.close()
    tokenizer.save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(iter([document(i) for i in range(64)]), 320)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("corpus") / "prepared"
    return store(folder, [document(i) for i in range(400)], tokenizer)


@pytest.fixture(scope="module")
def reader(tokenizer, prepared):
    shape = EncoderShape(
        hidden_size=16, num_layers=1, num_heads=2, mlp_size=16, max_length=48,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    return RunReader(Encoder(shape, 0), None, tokenizer, None, prepared=prepared)


def test_a_short_document_is_cut_between_its_sentences(prepared):
    pairs = corpus_pairs(prepared, 50, 64)
    known = {tuple(part.strip() for part in document(i).split(". ")) for i in range(400)}
    assert len(pairs) == len(set(pairs)) == 50
    assert {(one.rstrip("."), other) for one, other in pairs} <= known
    assert pairs == corpus_pairs(prepared, 50, 64)
    assert pairs[:20] == corpus_pairs(prepared, 20, 64)  # more pairs only add some


def test_a_long_document_gives_passages_cut_at_words(tmp_path, tokenizer):
    text = " ".join(f"b{'aeiouy'[i % 6]} c{'aeiou'[i % 5]}" for i in range(600))  # no sentence ends
    folder = store(tmp_path / "one", [text], tokenizer)
    pairs = corpus_pairs(folder, 1_000, 32)
    tokens = len(tokenizer.encode([text])[0].ids)
    assert 0.3 * tokens / 32 < len(pairs) <= tokens // 32 + 1
    for one, other in pairs:
        assert f"{one} {other}" in text
        assert 0.3 < len(one) / len(one + other) < 0.7


def test_documents_without_two_halves_give_no_pair(tmp_path, tokenizer):
    folder = store(tmp_path / "tiny", ["ba", "ba be", "b" * 200], tokenizer)
    assert corpus_pairs(folder, 10, 64) == []


def test_the_loss_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    rows = [-np.log(np.exp(2) / (np.exp(2) + 1)), -np.log(np.exp(3) / (np.e + np.exp(3)))]
    columns = [-np.log(np.exp(2) / (np.exp(2) + np.e)), -np.log(np.exp(3) / (1 + np.exp(3)))]
    assert info_nce(logits).item() == pytest.approx((np.mean(rows) + np.mean(columns)) / 2)


def test_the_logits_are_cosines_over_the_temperature(reader):
    pairs = [("ba be", "ca"), ("da", "bi bo bu")] * 2
    stage = Stage(reader.copy_for_finetuning(), pairs, 2, FEW)
    with torch.inference_mode():
        logits = stage._logits(np.array([0, 1])).numpy()
    u, v = (
        reader.features([pair[side] for pair in pairs[:2]]).pooled[:, -1, 0].astype(float)
        for side in (0, 1)
    )
    for i, j in np.ndindex(2, 2):
        cosine = u[i] @ v[j] / np.linalg.norm(u[i]) / np.linalg.norm(v[j])
        assert logits[i, j] == pytest.approx(cosine / 0.05, rel=1e-4)


def test_every_step_has_other_pairs_until_all_are_used(reader):
    pairs = [(f"b{i}", f"c{i}") for i in range(40)]
    stage = Stage(reader.copy_for_finetuning(), pairs, 8, FEW)
    batches = stage._batches()
    assert [len(batch) for batch in batches] == [8] * 40
    first, second = np.concatenate(batches[:4]), np.concatenate(batches[4:8])
    assert sorted(first) == sorted(second) == list(range(8, 40))  # never a dev pair
    assert first.tolist() != second.tolist()


def test_the_stage_learns_topics_and_leaves_the_frozen_encoder(reader):
    before = copy.deepcopy(reader.encoder.state_dict())
    trained, report = after_contrastive(reader, FEW)
    assert report["dev_loss"] < report["dev_loss_before"]
    assert report["dev_accuracy"] > report["dev_accuracy_before"]
    losses = dict(report["learning_rates"])
    assert report["learning_rate"] == min(losses, key=losses.__getitem__)
    assert report["dev_loss"] == losses[report["learning_rate"]]
    assert report["dev_pairs"] == 32
    rows = [len(reader.tokenizer.encode([text])[0].ids) for text in ("x",)]
    assert report["tokens"] > 40 * 8 * 2 * rows[0]
    after = reader.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert after_contrastive(reader, FEW)[0] is trained  # trained once for all tasks
    other = ContrastiveSettings(steps=1, batch_pairs=8, dev_pairs=8)
    report = after_contrastive(reader, other)[1]
    assert [rate for rate, _ in report["learning_rates"]] == [0.06 / 16, 0.2 / 16, 0.6 / 16]


def test_the_same_every_time_without_torchs_generator(reader, tokenizer, prepared):
    again = RunReader(reader.encoder, None, tokenizer, None, prepared=prepared)
    state = torch.random.get_rng_state()
    one, other = (after_contrastive(each, FEW) for each in (reader, again))
    assert one[1] == other[1]
    texts = ["Ba be ci", "do"]
    np.testing.assert_array_equal(one[0].features(texts).pooled, other[0].features(texts).pooled)
    assert torch.equal(state, torch.random.get_rng_state())


def test_too_little_text_and_no_corpus_are_not_applicable(reader, tmp_path, tokenizer):
    folder = store(tmp_path / "few", [document(i) for i in range(10)], tokenizer)
    few = RunReader(reader.encoder, None, tokenizer, None, prepared=folder)
    with pytest.raises(NotApplicableError, match=r"gives 10 pairs .* and 16 are needed"):
        after_contrastive(few, FEW)
    none = RunReader(reader.encoder, None, tokenizer, None)
    with pytest.raises(NotApplicableError, match="needs a corpus"):
        after_contrastive(none, FEW)
    wild = ContrastiveSettings(
        steps=30, batch_pairs=8, dev_pairs=32, learning_rates=(1e30,), passage_tokens=32
    )
    with pytest.raises(NotApplicableError, match="diverged at every learning rate"):
        after_contrastive(reader, wild)


class Alike(Similarity):
    name, summary, source = "alike", "", ""

    def load(self, data):
        raise NotImplementedError


class Find(Retrieval):
    name, summary, source = "find", "", ""

    def load(self, data):
        raise NotImplementedError


class Classes(TextClassification):
    name, summary, source = "classes", "", ""

    def load(self, data):
        raise NotImplementedError


class Pairs(MinimalPairs):
    name, summary, source = "pairs", "", ""

    def load(self, data):
        raise NotImplementedError


def similar_frame(count: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    topics = generator.integers(0, len(TOPICS), (2, count))
    texts = [[" ".join(generator.choice(TOPICS[t], 5)) for t in side] for side in topics]
    scores = (topics[0] == topics[1]) * 4 + generator.uniform(0, 1, count)
    return pd.DataFrame({"text": texts[0], "text_pair": texts[1], "score": scores})


def test_similarity_is_that_of_the_trained_copy(reader):
    from scipy.stats import spearmanr

    data = Splits(similar_frame(60, 1), similar_frame(60, 2), "0" * 64)
    task = Alike()
    task.configure({"contrastive": FEW.__dict__, "probe": {"embeddings": "raw"}})
    task.probe = "contrastive"
    score = task.score(reader, data, NOISE)
    assert score.metrics == {}
    layer, pooling = (score.details[key] for key in ("layer", "pooling"))
    rhos = []
    for one in (after_contrastive(reader, FEW)[0], reader):
        u, v = (
            one.features(list(data.test[c])).pooled[:, layer, POOLINGS.index(pooling)].astype(float)
            for c in ("text", "text_pair")
        )
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        rhos.append(spearmanr(cosine, data.test["score"]).statistic)
    assert score.value == pytest.approx(rhos[0])
    assert score.value != pytest.approx(rhos[1])
    assert score.details["contrastive"]["steps"] == 40
    assert task.identity()["steps"] == 40
    assert "steps" not in Alike().identity()


def test_retrieval_is_that_of_the_trained_copy(reader):
    documents = pd.DataFrame(
        {"id": [f"d{i}" for i in range(60)], "text": [document(i + 900) for i in range(60)]}
    )
    queries = pd.DataFrame({"text": [document(i + 2_004) for i in range(40)]})
    queries["relevant"] = [[f"d{(7 * i) % 60}", f"d{(11 * i + 5) % 60}"] for i in range(40)]
    data = Splits(documents, queries, "0" * 64)
    task = Find()
    task.probe = "contrastive"
    task.configure({"contrastive": FEW.__dict__, "probe": {"embeddings": "raw"}})
    score = task.score(reader, data, NOISE)
    frozen = Find()
    frozen.configure({"probe": {"embeddings": "raw"}})
    trained = after_contrastive(reader, FEW)[0]
    assert score.value == frozen.score(trained, data, NOISE).value
    assert score.value != frozen.score(reader, data, NOISE).value
    assert score.details["contrastive"]["trials"] == 2


def test_clusters_are_those_of_the_trained_copy(reader):
    class Clusters(Clustering):
        name, summary, source = "clusters", "", ""

        def load(self, data):
            raise NotImplementedError

    frames = [
        pd.DataFrame(
            {"text": [document(i + start) for i in range(64)], "label": [i % 4 for i in range(64)]}
        )
        for start in (4_000, 5_000)
    ]
    data = Splits(*frames, "0" * 64)
    task = Clusters()
    task.probe = "contrastive"
    task.configure({"contrastive": FEW.__dict__})
    score = task.score(reader, data, NOISE)
    trained = after_contrastive(reader, FEW)[0]
    assert score.value == Clusters().score(trained, data, NOISE).value
    assert score.details["contrastive"]["trials"] == 2
    assert task.identity()["probe"] == "contrastive"
    assert "probe" not in Clusters().identity()


def test_which_probes_score_a_task():
    requested = ("knn", "contrastive", "finetune")
    assert Find().probes_among(requested) == ("linear", "contrastive")
    assert Find().probes_among(("contrastive",)) == ("contrastive",)
    assert Alike().probes_among(requested) == requested
    assert Pairs().probes_among(requested) == ("linear",)
    assert "probe" not in Find().identity()


def test_a_family_that_fits_a_probe_says_why_the_stage_is_not_for_it(reader):
    task = Classes()
    task.probe = "contrastive"
    with pytest.raises(NotApplicableError, match="text classification fits a probe"):
        task.score(reader, Splits(pd.DataFrame(), pd.DataFrame(), ""), NOISE)
