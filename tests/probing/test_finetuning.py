"""Fine-tuning of a very small encoder on a task that it can learn in a few steps."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from bench.corpus.trainer import train_tokenizer
from bench.pretraining.encoder import Encoder
from bench.pretraining.noise import Noise
from bench.probing import finetuning
from bench.probing.families.classification import TextClassification
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.probed import mean_score
from bench.probing.families.similarity import Similarity
from bench.probing.families.tagging import Tagging
from bench.probing.finetuning import constant_loss, schedule_factor
from bench.probing.metrics import label_score
from bench.probing.reader.reader import RunReader
from bench.probing.task import Splits
from bench.spec import EncoderShape

NOISE = Noise(0, 0, torch.arange(1))
WORDS = ["bat", "crane", "seal", "jam"]


def task_of(family, columns):
    def load(self, data):
        raise NotImplementedError

    names = {"name": "small", "summary": "", "source": "", "chance": 0.5, "load": load}
    task = type("Small", (family,), names)()
    task.probe = "finetune"
    return task, columns


def frame(count, seed):
    """The first word determines the label, and whether the second text has the same class."""
    generator = np.random.default_rng(seed)
    first, second, other = generator.integers(0, 4, (3, count))
    texts = [f"{WORDS[a]} {WORDS[b]}" for a, b in zip(first, second, strict=True)]
    return pd.DataFrame(
        {
            "text": texts,
            "text_pair": [f"{WORDS[c]}" for c in other],
            "words": [text.split(" ") for text in texts],
            "labels": [[str(a % 2), str(b % 2)] for a, b in zip(first, second, strict=True)],
            "label": first % 2,
            "score": (first % 2 + other % 2).astype(float),
        }
    )


@pytest.fixture(scope="module")
def reader():
    tokenizer = train_tokenizer(iter([" ".join(WORDS)] * 9), 280)
    shape = EncoderShape(
        hidden_size=16, num_layers=1, num_heads=2, mlp_size=16, max_length=16,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    return RunReader(Encoder(shape, 0), None, tokenizer, None)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(finetuning, "MAX_EPOCHS", 4)
    monkeypatch.setattr(finetuning, "RATE_TIMES_WIDTH", 0.4)


def splits():
    return Splits(frame(160, 1), frame(60, 2), "0" * 64)


@pytest.mark.parametrize("family", [TextClassification, PairClassification, Tagging, Similarity])
def test_every_family_learns_and_the_frozen_encoder_does_not_change(reader, family):
    task, _ = task_of(family, ())
    before = copy.deepcopy(reader.encoder.state_dict())
    score = task.score(reader, splits(), NOISE)
    assert score.value > 0.8
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert len(score.details["seeds"]) == 3
    assert score.details["seeds_averaged"] == 3 - len(score.details["collapsed_seeds"])
    after = reader.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in reader.encoder.parameters())


def test_the_same_every_time_and_different_by_seed(reader):
    task, _ = task_of(TextClassification, ())
    state = torch.random.get_rng_state()
    one, other = (task.score(reader, splits(), NOISE) for _ in range(2))
    assert one.details == other.details
    pd.testing.assert_frame_equal(one.outcomes, other.outcomes)
    curves = [seed["curve"] for seed in one.details["seeds"]]
    assert curves[0] != curves[1] != curves[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_details_name_collapsed_seeds(reader, monkeypatch):
    monkeypatch.setattr(finetuning, "RATE_TIMES_WIDTH", 1e5)
    task, _ = task_of(TextClassification, ())
    score = task.score(reader, splits(), NOISE)
    assert score.details["collapsed_seeds"] == [0, 1, 2]
    assert score.details["seeds_averaged"] == 3  # no other seeds exist


def test_a_collapsed_seed_is_excluded_from_the_mean(reader, monkeypatch):
    train = finetuning.Tuning.train

    def train_and_collapse(self, is_dev, criterion):
        report = train(self, is_dev, criterion)
        return report | {"collapsed": self.noise.seed == 1}

    monkeypatch.setattr(finetuning.Tuning, "train", train_and_collapse)
    task, _ = task_of(TextClassification, ())
    score = task.score(reader, splits(), NOISE)
    assert score.details["collapsed_seeds"] == [1]
    assert len(score.details["seed_values"]) == 2
    assert score.value == pytest.approx(np.mean(score.details["seed_values"]))


def test_the_weights_of_the_best_epoch_on_dev_are_used(reader, monkeypatch):
    scores = iter([0.9, 0.1, 0.1, 0.1] * 3)
    monkeypatch.setattr(finetuning, "criterion_score", lambda *arguments: next(scores))
    monkeypatch.setattr(finetuning, "SEEDS", 1)
    task, _ = task_of(TextClassification, ())
    (seed,) = task.score(reader, splits(), NOISE).details["seeds"]
    assert (seed["epochs"], seed["dev"]) == (1, 0.9)
    assert len(seed["curve"]) == 1 + finetuning.PATIENCE


def test_the_mean_over_seeds_is_a_mean_over_examples():
    labels, none = ["0", "1", "1", "0"], np.zeros(4, dtype=bool)
    answers = (["0", "1", "0", "0"], ["0", "1", "1", "1"])
    score = mean_score([label_score("f1", labels, predicted, none, {}) for predicted in answers])
    assert score.value == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert score.metrics["accuracy"][0] == 0.75
    assert score.outcomes["accuracy"].tolist() == [1, 1, 0.5, 0.5]


def test_learning_rates_and_constant_predictions():
    rates = [schedule_factor(step, 100) for step in range(100)]
    assert np.argmax(rates) == 9
    assert max(rates) == 1.0
    assert rates[-1] < 0.02
    assert constant_loss(torch.tensor([0, 1, 0, 1])) == pytest.approx(np.log(2))
    assert constant_loss(torch.tensor([0.0, 2.0])) == pytest.approx(1.0)
