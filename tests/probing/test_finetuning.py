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
from bench.probing.finetuning import constant_loss
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
    task.configure({"finetune": {"max_epochs": 6, "learning_rates": (0.003, 0.03)}})
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


def test_the_details_name_collapsed_seeds(reader):
    task, _ = task_of(TextClassification, ())
    task.configure({"finetune": {"learning_rates": (1e4,)}})
    score = task.score(reader, splits(), NOISE)
    assert score.details["collapsed_seeds"] == [0, 1, 2]
    assert score.details["seeds_averaged"] == 3  # no other seeds exist


def test_a_collapsed_seed_is_excluded_from_the_mean(reader, monkeypatch):
    train = finetuning.Tuning.train

    def train_and_collapse(self, *arguments):
        report = train(self, *arguments)
        return report | {"collapsed": self.noise.seed == 1}

    monkeypatch.setattr(finetuning.Tuning, "train", train_and_collapse)
    task, _ = task_of(TextClassification, ())
    score = task.score(reader, splits(), NOISE)
    assert score.details["collapsed_seeds"] == [1]
    assert len(score.details["seed_values"]) == 2
    assert score.value == pytest.approx(np.mean(score.details["seed_values"]))


def test_the_weights_of_the_best_epoch_on_dev_are_used(reader, monkeypatch):
    scores = iter([0.9, 0.1, 0.1, 0.1])
    monkeypatch.setattr(finetuning, "criterion_score", lambda *arguments: next(scores))
    task, _ = task_of(TextClassification, ())
    task.configure({"finetune": {"seeds": 1, "learning_rates": (0.01,), "patience": 2}})
    (seed,) = task.score(reader, splits(), NOISE).details["seeds"]
    assert (seed["epochs"], seed["dev"]) == (1, 0.9)
    assert len(seed["curve"]) == 1 + 2


def test_learning_rate_and_epochs_are_chosen_on_dev_with_equal_trials(reader):
    task, _ = task_of(TextClassification, ())
    task.configure({"finetune": {"learning_rates": (1e-6, 0.01), "max_epochs": 3}})
    details = task.score(reader, splits(), NOISE).details
    assert [rate for rate, _ in details["learning_rates"]] == [1e-6, 0.01]
    assert details["learning_rate"] == 0.01
    assert details["is_edge"]
    assert {seed["learning_rate"] for seed in details["seeds"]} == {0.01}
    last = [seed["epochs"] == 3 for seed in details["seeds"]]
    assert details["is_at_last_epoch"] == any(last)
    assert details["truncated_texts"] == 0


def reported(reader, monkeypatch, reports, examples=None, **settings):
    """The details where training gives these (best epoch, dev score), one for each attempt."""
    attempts = iter(reports)

    def train(self, *arguments):
        epochs, dev = next(attempts)
        return {"epochs": epochs, "dev": dev, "collapsed": False, "curve": []}

    monkeypatch.setattr(finetuning.Tuning, "train", train)
    task, _ = task_of(TextClassification, ())
    task.configure({"finetune": {"learning_rates": (0.01,), "seeds": 1} | settings})
    return task.score(reader, examples or splits(), NOISE).details


@pytest.mark.parametrize(
    ("dev", "rate", "is_edge"),
    [((0.7, 0.9, 0.8), 0.02, False), ((0.9, 0.8, 0.7), 0.01, True), ((0.7, 0.8, 0.9), 0.03, True)],
)
def test_the_lowest_and_the_highest_learning_rate_are_an_edge(
    reader, monkeypatch, dev, rate, is_edge
):
    reports = [(1, score) for score in dev]
    rates = (0.01, 0.02, 0.03)
    details = reported(reader, monkeypatch, reports, learning_rates=rates)
    assert (details["learning_rate"], details["is_edge"]) == (rate, is_edge)


def test_the_only_learning_rate_is_no_edge(reader, monkeypatch):
    assert reported(reader, monkeypatch, [(1, 0.9)])["is_edge"] is False


@pytest.mark.parametrize(
    ("epochs", "is_at_last"), [((2, 2), False), ((2, 3), True), ((3, 2), True), ((3, 3), True)]
)
def test_one_seed_that_is_best_at_the_limit_of_epochs_is_reported(
    reader, monkeypatch, epochs, is_at_last
):
    reports = [(best, 0.9) for best in epochs]
    details = reported(reader, monkeypatch, reports, seeds=2, max_epochs=3)
    assert details["is_at_last_epoch"] is is_at_last


def test_a_rate_that_was_not_chosen_says_nothing_about_the_limit_of_epochs(reader, monkeypatch):
    reports = [(3, 0.5), (2, 0.9)]
    rates = (0.01, 0.02)
    details = reported(reader, monkeypatch, reports, learning_rates=rates, max_epochs=3)
    assert details["is_at_last_epoch"] is False


def test_texts_beyond_the_window_are_counted(reader, monkeypatch):
    """Two texts of each split are longer than 16 positions."""
    train, test = frame(160, 1), frame(60, 2)
    for part in (train, test):
        part.loc[[0, 7], "text"] = " ".join(WORDS * 20)
    details = reported(reader, monkeypatch, [(1, 0.9)], Splits(train, test, "0" * 64))
    assert (details["truncated_texts"], details["texts"]) == (4, 220)


def test_the_default_learning_rates_scale_with_the_width(reader):
    task, _ = task_of(TextClassification, ())
    task.configure({"finetune": {"learning_rates": (), "max_epochs": 1, "seeds": 1}})
    details = task.score(reader, splits(), NOISE).details
    tried = [rate for rate, _ in details["learning_rates"]]
    assert tried == [product / 16 for product in finetuning.RATES_TIMES_WIDTH]


def test_the_mean_over_seeds_is_a_mean_over_examples():
    labels, none = ["0", "1", "1", "0"], np.zeros(4, dtype=bool)
    answers = (["0", "1", "0", "0"], ["0", "1", "1", "1"])
    score = mean_score([label_score("f1", labels, predicted, none, {}) for predicted in answers])
    assert score.value == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert score.metrics["accuracy"][0] == 0.75
    assert score.outcomes["accuracy"].tolist() == [1, 1, 0.5, 0.5]


def test_constant_predictions():
    assert constant_loss(torch.tensor([0, 1, 0, 1])) == pytest.approx(np.log(2))
    assert constant_loss(torch.tensor([0.0, 2.0])) == pytest.approx(1.0)
