from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from bench.corpus.words import word_spans
from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families import span_scorer
from bench.probing.families.span_extraction import (
    SpanExtraction,
    best_overlap,
    normalise,
    overlap_f1,
    rarity,
    texts_of,
)
from bench.probing.reader.passages import read_passages
from bench.probing.task import Features, NotApplicableError, Splits

NOISE = Noise(0, 0, torch.arange(1))
NAMES = [f"name{i}" for i in range(12)]
THINGS = [f"thing{i}" for i in range(12)]


class Answer(SpanExtraction):
    name, summary, source = "answer", "", ""

    def load(self, data):
        raise NotImplementedError


def vector(seen, width=16):
    digest = hashlib.sha256(seen.encode()).digest()
    return np.frombuffer(digest, dtype=np.uint8)[:width].astype(np.float32) / 255 - 0.5


class WordReader:
    """Layer 0 is noise; layer 1 encodes the question's name."""

    def __init__(self, knows=True):
        self.knows = knows
        self.drawn = 0

    def features(self, texts, spans=None):
        pooled = np.array([[[vector(text)] * 3, [self.of(text.split(" ")[-1])] * 3]
                           for text in texts])  # fmt: skip
        if spans is None:
            return Features(pooled, None, 0)
        words = []
        for text, own in zip(texts, spans, strict=True):
            for begin, end in own:
                before = text[:begin].split(" ")[-3:-2] or [""]  # `NAME has THING`
                words.append([vector(f"{text} {begin}"), self.of(before[0])])
                assert text[begin:end].strip()
        return Features(pooled, np.repeat(np.array(words)[:, :, None], 3, axis=2), 0)

    def of(self, word):
        """Names have vectors of their own, so the words after them can be recognised."""
        if not self.knows:
            self.drawn += 1
            return vector(str(self.drawn))
        return (
            np.eye(16, dtype=np.float32)[NAMES.index(word)] if word in NAMES else vector(word) / 9
        )


def questions(count, seed):
    """`what has NAME`: the answer is two words to the right of the name."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        names = generator.permutation(NAMES)[:4]
        things = generator.permutation(THINGS)[:4]
        context = " . ".join(f"{n} has {t}" for n, t in zip(names, things, strict=True)) + " ."
        k = generator.integers(0, 4)
        start = context.index(f"{names[k]} has {things[k]}") + len(names[k]) + 5
        rows.append((f"what has {names[k]}", context, [{"text": things[k], "start": start}]))
    return pd.DataFrame(rows, columns=["question", "context", "answers"])


def splits(train=150, test=60):
    return Splits(questions(train, 1), questions(test, 2), "0" * 64)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(span_scorer, "MAX_EPOCHS", 8)
    monkeypatch.setattr(span_scorer, "LEARNING_RATE", 2e-2)


def test_answers_are_found():
    score = Answer().score(WordReader(), splits(), NOISE)
    assert score.details["layer"] == 1
    assert score.value > 0.9
    assert list(score.metrics) == ["f1", "exact_match"]
    for name, column in (("f1", "outcome"), ("exact_match", "exact_match")):
        assert score.outcomes[column].mean() == pytest.approx(score.metrics[name][0])


def test_random_features_find_nothing_deterministically():
    score, again = (
        Answer().score(WordReader(knows=False), splits(60, 60), NOISE) for _ in range(2)
    )
    assert score.value < 1 / 4 + 3 * score.stderr  # guessing one of the four things, at best
    assert again.details == score.details


def test_passages_have_one_vector_for_every_word():
    text = " ".join(f"w{i:02}" for i in range(40))
    passages = read_passages(WordReader(), ["", text, "x"], None)
    assert passages.begin.tolist() == [0, 0, 40, 41]
    assert passages.vectors.shape == (41, 2, 16)
    np.testing.assert_array_equal(passages.vectors[9, 0], vector(f"{text} 36"))
    assert read_passages(WordReader(), [text], 1).vectors.shape == (40, 1, 16)


def test_answers_are_compared_as_in_squad():
    assert normalise("The  Quick, brown-fox!") == ["quick", "brownfox"]
    assert overlap_f1("the quick fox", "Quick dog") == pytest.approx(0.5)
    assert overlap_f1("a the", "an") == 1.0
    assert overlap_f1("fox", "the") == 0.0


def test_the_text_of_a_span_contains_everything_between_its_words():
    frame = pd.DataFrame({"context": ["Mr. O'Brien, of Ürümqi."]})
    assert texts_of(frame, np.array([[0, 4]])) == ["Mr. O'Brien"]
    assert texts_of(frame, np.array([[5, 99]])) == [", of Ürümqi."]


def test_the_overlap_baseline_predicts_words_beside_the_questions_words():
    context = "the sun is far away . the moon orbits the earth every month or so . nothing else is"
    at = best_overlap("what orbits the earth", context, 1, rarity([context, "the is what a"]))
    words = [context[begin:end] for begin, end in word_spans(context)]
    assert words[at] not in ("orbits", "earth")
    assert abs(at - words.index("orbits")) < 8
    baselines = Answer().baselines(splits(), NOISE)
    assert list(baselines) == ["majority", "bag_of_words"]
    assert baselines["majority"].value < 0.1  # a text begins with a name


def test_another_probe_is_not_applicable():
    task = Answer()
    task.probe = "knn"
    with pytest.raises(NotApplicableError, match="knn"):
        task.score(WordReader(), splits(), NOISE)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "row 7 of train has no answer"),
        ([{"text": "elsewhere", "start": 3}], "row 7 of train has .* its answer is 'elsewhere'"),
        ([{"text": " ", "start": 5}], "row 7 of train"),
    ],
)
def test_answers_at_a_wrong_place_are_refused(answers, message):
    data = splits(20, 20)
    data.train.at[7, "answers"] = answers
    with pytest.raises(BenchError, match=message):
        Answer().check(data)
