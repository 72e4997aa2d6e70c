from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.fill_in import FillIn, FillInSettings, rank_outcomes
from bench.probing.task import NotApplicableError, Splits

NOISE = Noise(0, 0, torch.arange(1))
WORDS = [f"word{i:02}" for i in range(20)]


class Missing(FillIn):
    name, summary, source, chance = "missing", "", "", 0.05

    def load(self, data):
        raise NotImplementedError


class Guesser:
    """Scores the candidates by `know`; predicts nothing without it."""

    def __init__(self, know=None):
        self.know = know

    def word_scores(self, texts, spans, candidates):
        if self.know is None:
            raise NotApplicableError("no head")
        words = [text[start:end] for text, (start, end) in zip(texts, spans, strict=True)]
        return np.array([self.know(word, candidates) for word in words])


def examples(count=200, seed=0):
    drawn = np.random.default_rng(seed).integers(0, len(WORDS), count)
    rows = [(f"{i} is a {WORDS[w]} .", len(f"{i} is a "), len(f"{i} is a {WORDS[w]}"))
            for i, w in enumerate(drawn)]  # fmt: skip
    return pd.DataFrame(rows, columns=["text", "start", "end"])


def splits(count=200, train=0):
    return Splits(examples(train, 1), examples(count), "0" * 64)


def test_a_reader_that_knows_the_word_is_always_right():
    know = Guesser(lambda word, candidates: [float(c == word) for c in candidates])
    score = Missing().score(know, splits(), NOISE)
    assert score.value == 1.0
    assert list(score.metrics) == ["accuracy", "accuracy_5", "reciprocal_rank", "margin"]
    assert all(value == 1.0 for value, _ in score.metrics.values())
    assert score.details["candidates"] == 20


def test_the_margin_is_finer_than_accuracy_and_bounded():
    by = [Guesser(lambda w, c, s=s: [s * (x == w) for x in c]) for s in (0.5, 2.0, 1e6)]
    scores = [Missing().score(one, splits(), NOISE) for one in by]
    assert [score.value for score in scores] == [1.0, 1.0, 1.0]
    assert [score.metrics["margin"][0] for score in scores] == pytest.approx([0.5, 2.0, 20.0])


def test_a_reader_that_guesses_is_at_chance():
    generator = np.random.default_rng(0)
    guess = Guesser(lambda word, candidates: generator.random(len(candidates)))
    score = Missing().score(guess, splits(500), NOISE)
    chances = (1 / 20, 5 / 20, (1 / np.arange(1, 21)).mean())
    for (value, stderr), expected in zip(score.metrics.values(), chances, strict=False):
        assert abs(value - expected) < 3 * stderr
    for name, (value, _) in score.metrics.items():
        assert score.outcomes[name].mean() == pytest.approx(value)


def test_rank_outcomes_by_hand():
    scores = np.array([[3.0, 2, 1, 0], [0, 0, 0, 0], [1, 1, 0, 2], [-np.inf, 1, 1, 1]])
    outcomes = rank_outcomes(scores, np.array([1, 2, 0, 0]))
    np.testing.assert_allclose(outcomes["accuracy"], [0, 1 / 4, 0, 0])
    np.testing.assert_allclose(outcomes["accuracy_5"], [1, 1, 1, 1])
    quarter = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    np.testing.assert_allclose(
        outcomes["reciprocal_rank"], [1 / 2, quarter, (1 / 2 + 1 / 3) / 2, 1 / 4]
    )


def test_some_examples_are_scored_with_the_candidates_of_all(monkeypatch):
    monkeypatch.setattr(Missing, "probe_settings", FillInSettings(max_examples=30))
    know = Guesser(lambda word, candidates: [float(c == word) for c in candidates])
    score = Missing().score(know, splits(300), NOISE)
    assert len(score.outcomes) == 30
    assert score.outcomes["example"].max() > 30  # not just the first ones
    assert score.details["candidates"] == 20


def test_the_majority_baseline_is_the_word_that_train_hides_most():
    data = splits(400, train=100)
    frequent = "word07"
    data.train["text"] = [f"0 is a {frequent}"] * 100
    data.train["start"], data.train["end"] = 7, 13
    baseline = Missing().baselines(data, NOISE)["majority"]
    is_frequent = [text.split(" ")[3] == frequent for text in data.test["text"]]
    assert baseline.value == pytest.approx(np.mean(is_frequent))
    assert Missing().baselines(splits(), NOISE)["majority"].value == pytest.approx(1 / 20)


def test_a_reader_without_predictions_is_not_applicable():
    with pytest.raises(NotApplicableError):
        Missing().score(Guesser(), splits(), NOISE)


def test_words_outside_of_their_texts_are_refused():
    data = splits()
    data.test.loc[5, "end"] = 99
    with pytest.raises(BenchError, match=r"row 5 of test hides \[7, 99\)"):
        Missing().check(data)
    data.test[["text", "start", "end"]] = ["one", 0, 3]
    with pytest.raises(BenchError, match="hides the same word"):
        Missing().check(data)
