"""Classification, tagging and minimal pairs with a reader of known features."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.families.classification import TextClassification
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.families.tagging import Tagging, texts_and_spans
from bench.probing.task import Features, NotApplicableError, Splits

NOISE = Noise(0, 0, torch.arange(1))
WIDTH = 16


class Classes(TextClassification):
    name, summary, source, chance = "classes", "", "", 0.5

    def load(self, data):
        raise NotImplementedError


class Tags(Tagging):
    name, summary, source, chance = "tags", "", "", 0.5

    def load(self, data):
        raise NotImplementedError


class Spans(Tags):
    metric: ClassVar[str] = "span_f1"


class Pairs(MinimalPairs):
    name, summary, source = "pairs", "", ""

    def load(self, data):
        raise NotImplementedError


def vector(*seen):
    """A pseudo-random vector that depends on the arguments alone."""
    digest = hashlib.sha256(repr(seen).encode()).digest()
    return np.frombuffer(digest, dtype=np.uint8)[:WIDTH].astype(np.float32) / 255 - 0.5


class FakeReader:
    """Layer 0 encodes the word alone, layer 1 also its left neighbour; texts: their first word."""

    def __init__(self, scoring="masked", likelihood=None):
        self.scoring = scoring
        self.likelihood = likelihood
        self.calls = []

    def features(self, texts, spans=None):
        pooled = np.stack([np.tile(vector(text.split(" ")[0]), (2, 3, 1)) for text in texts])
        if spans is None:
            return Features(pooled, None, 1)
        vectors = []
        for text, words in zip(texts, spans, strict=True):
            for begin, end in words:
                left = text[:begin].split(" ")[-2:-1]
                word = text[begin:end]
                vectors.append([vector(word), vector(word) + 2 * vector(*left)])
        return Features(pooled, np.repeat(np.array(vectors)[:, :, None], 3, axis=2), 0)

    def log_likelihood(self, texts, policy):
        self.calls.append(policy)
        if self.likelihood is None:
            raise NotApplicableError("no head")
        return np.array([self.likelihood(text, policy) for text in texts], dtype=float)


def text_frame(count, seed):
    """The first word determines the label; each class has five first words."""
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, 10, count)
    tails = [" ".join(f"x{i}" for i in generator.integers(0, 50, 5)) for _ in range(count)]
    return pd.DataFrame(
        {
            "text": [f"w{draw} {tail}" for draw, tail in zip(draws, tails, strict=True)],
            "label": draws % 2,
        }
    )


def splits(train, test):
    return Splits(train, test, "0" * 64)


def test_classification_uses_the_information_of_the_features():
    data = splits(text_frame(400, 1), text_frame(200, 2))
    score = Classes().score(FakeReader(), data, NOISE)
    assert score.value > 0.95
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert score.outcomes["example"].tolist() == list(range(200))
    assert score.details["truncated_texts"] == 2
    again = Classes().score(FakeReader(), data, NOISE)
    assert again.details == score.details
    pd.testing.assert_frame_equal(again.outcomes, score.outcomes)


def test_baselines_of_classification():
    baselines = Classes().baselines(splits(text_frame(400, 1), text_frame(200, 2)), NOISE)
    assert list(baselines) == ["majority", "bag_of_words"]
    assert baselines["bag_of_words"].value > 0.95
    assert 0.35 < baselines["majority"].value < 0.65


@pytest.mark.slow
def test_the_probe_is_capped_and_the_baselines_are_not():
    train = text_frame(6_000, 3)
    data = splits(train, text_frame(100, 4))
    assert Classes().score(FakeReader(), data, NOISE).details["train_labels"] == 5_000
    assert Classes().baselines(data, NOISE)["majority"].details["train_labels"] == 6_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.assign(label=1), "all 40 labels of the train split are '1'"),
        (lambda f: f.assign(label=[None, *f["label"][1:]]), "1 of 40 rows of the train .*row 0"),
        (lambda f: f[:3], "3 rows, but at least 10"),
        (lambda f: f.drop(columns="label"), r"lacks the columns \['label'\]: it has \['text'\]"),
    ],
)
def test_unusable_examples_are_refused(spoil, message):
    data = splits(spoil(text_frame(40, 1)), text_frame(40, 2))
    with pytest.raises(BenchError, match=message):
        Classes().check(data)
    with pytest.raises(BenchError, match=message):
        Classes().score(FakeReader(), data, NOISE)


def tag_frame(count, seed, single=False):
    """A word is `after` if `the` or `a` precedes it; both classes have the same words."""
    generator = np.random.default_rng(seed)
    rows, tags = [], []
    for _ in range(count):
        words, labels = [], []
        for i in generator.integers(0, 10, 6):
            article = bool(generator.integers(0, 2))
            opening = ("the", "a") if article else ("so", "or")
            words += [opening[generator.integers(0, 2)], f"n{i}"]
            labels += [None, "after" if article else "other"]
        if single:
            keep = 2 * generator.integers(0, 6) + 1
            labels = [label if i == keep else None for i, label in enumerate(labels)]
        rows.append(words)
        tags.append(labels)
    return pd.DataFrame({"words": rows, "labels": tags})


@pytest.mark.parametrize("single", [False, True])
def test_tagging_chooses_the_layer_with_the_context(single):
    data = splits(tag_frame(300, 1, single), tag_frame(100, 2, single))
    score = Tags().score(FakeReader(), data, NOISE)
    assert score.details["layer"] == 1
    assert score.value > 0.9
    assert score.outcomes["outcome"].mean() == pytest.approx(score.value)
    assert len(score.outcomes) == 100
    baselines = Tags().baselines(data, NOISE)
    assert list(baselines) == ["majority", "bag_of_words", "window_of_words"]
    assert baselines["window_of_words"].value > 0.98
    assert baselines["bag_of_words"].value < 0.75


def test_with_one_label_per_sentence_the_bag_is_the_whole_sentence():
    frames = []
    for count, seed in ((200, 1), (100, 2)):
        wet = np.random.default_rng(seed).integers(0, 2, count).astype(bool)
        words = [["the", "bank", "of", "the", "river" if one else "trust"] for one in wet]
        labels = [[None, "shore" if one else "money", None, None, None] for one in wet]
        frames.append(pd.DataFrame({"words": words, "labels": labels}))
    baselines = Tags().baselines(splits(*frames), NOISE)
    assert baselines["bag_of_words"].value == 1.0
    assert baselines["window_of_words"].value < 0.7


@pytest.mark.slow
def test_selectivity_exposes_a_probe_that_memorises_words():
    """The word alone determines the label: features of word identity need no context."""
    frames = [tag_frame(300, 1), tag_frame(100, 2)]
    for frame in frames:
        frame["labels"] = [
            ["odd" if word[-1] in "13579" else "even" for word in words] for words in frame["words"]
        ]
    details = Tags().score(FakeReader(), splits(*frames), NOISE).details
    assert details["accuracy"] > 0.95
    assert details["selectivity"] < 0.2


@pytest.mark.slow
def test_tagging_is_fitted_on_at_most_8000_words():
    data = splits(tag_frame(3_000, 1), tag_frame(20, 2))
    details = Tags().score(FakeReader(), data, NOISE).details
    assert 7_990 < details["train_labels"] <= 8_000


def test_span_f1_task():
    frames = []
    for count, seed in ((200, 1), (100, 2)):
        generator = np.random.default_rng(seed)
        kinds = generator.integers(0, 2, count)
        frames.append(
            pd.DataFrame(
                {
                    "words": [["we", "saw", ("Mr", "Lake")[k], "Bly", "."] for k in kinds],
                    "labels": [
                        ["O", "O", *(("B-per", "I-per"), ("B-loc", "I-loc"))[k], "O"] for k in kinds
                    ],
                }
            )
        )
    data = splits(*frames)
    assert Spans().score(FakeReader(), data, NOISE).value == 1.0
    baselines = Spans().baselines(data, NOISE)
    assert baselines["majority"].value == 0.0
    assert baselines["bag_of_words"].value < 0.8  # "Bly" goes to one type always
    assert baselines["window_of_words"].value == 1.0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f["labels"][3].append("x"), "row 3 of train has 12 words and 13 labels"),
        (lambda f: f["labels"][3].__setitem__(0, float("nan")), "row 3 of train .* NaN"),
        (
            lambda f: f.__setitem__("labels", [[None] * 12] * 40),
            "no word of the train split has a label",
        ),
    ],
)
def test_unusable_tags_are_refused(spoil, message):
    train = tag_frame(40, 1)
    spoil(train)
    with pytest.raises(BenchError, match=message):
        Tags().check(splits(train, tag_frame(40, 2)))


def test_texts_and_character_ranges_of_words():
    frame = pd.DataFrame(
        {"words": [["Ünder", "", "new york", "!"]], "labels": [["a", None, "b", "c"]]}
    )
    (text,), (spans,) = texts_and_spans(frame)
    assert text == "Ünder  new york !"
    assert [text[begin:end] for begin, end in spans] == ["Ünder", "new york", "!"]


def pair_splits(count=40):
    pairs = pd.DataFrame(
        {
            "good": [f"good {i}" for i in range(count)],
            "bad": [f"bad sentence {i}" for i in range(count)],
            "bucket": ["even" if i % 2 == 0 else "odd" for i in range(count)],
        }
    )
    return splits(pairs[:0], pairs)


def annotate(text, policy):
    """Good wins in even pairs, ties in odd ones; per token good loses the even pairs too."""
    number = int(text.split(" ")[-1])
    is_good = text.startswith("good")
    nats = (-8.0 if is_good else -9.0) if number % 2 == 0 else -7.0
    if policy == "word_l2r":
        nats = -5.0 if is_good else -9.0
    return nats, 2 if is_good else 3


def test_minimal_pairs_count_a_tie_as_one_half():
    score = Pairs().score(FakeReader(likelihood=annotate), pair_splits(), NOISE)
    assert score.value == 0.75
    assert score.metrics["original"] == (score.value, score.stderr)
    assert score.metrics["word_l2r"] == (1.0, 0.0)
    original = score.details["original"]
    assert original["tie_rate"] == 0.5
    assert original["buckets"] == {"even": [1.0, 20], "odd": [0.5, 20]}
    assert original["per_token"][0] == 0.0
    assert score.outcomes["outcome"].mean() == score.value
    assert score.metrics["margin"][0] == pytest.approx(score.outcomes["margin"].mean())
    assert list(score.outcomes.columns) == ["example", "outcome", "word_l2r", "margin", "bucket"]


def test_a_difference_within_the_error_of_float32_is_a_tie():
    def nearly(text, policy):
        return (-7.0 + 2e-5 * text.startswith("good"), 2)

    assert Pairs().score(FakeReader(likelihood=nearly), pair_splits(), NOISE).value == 0.5


def test_a_causal_reader_scores_the_sentences_once():
    reader = FakeReader("causal", annotate)
    score = Pairs().score(reader, pair_splits(), NOISE)
    assert reader.calls == ["original"]
    assert score.metrics["original"] == score.metrics["word_l2r"]
    assert score.details["policies_coincide"] is True


def test_a_reader_without_a_head_is_not_applicable():
    with pytest.raises(NotApplicableError):
        Pairs().score(FakeReader(), pair_splits(), NOISE)


def test_guessing_pairs_is_one_half():
    baseline = Pairs().baselines(pair_splits(), NOISE)["majority"]
    assert (baseline.value, baseline.outcomes["outcome"].mean()) == (0.5, 0.5)
