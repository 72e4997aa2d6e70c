"""Planted answers of a task: the features with which a probe can solve every example.

Each family defines them in a few lines. A family of another package registers its own:

    @plant_answers.register(MyFamily)
    def _(task, splits): return splits, Answers(...)
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.corpus.words import word_spans
from bench.probing.families.clustering import Clustering
from bench.probing.families.fill_in import FillIn
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.families.probed import ProbedTask
from bench.probing.families.retrieval import Retrieval, gains_of
from bench.probing.families.span_extraction import SpanExtraction
from bench.probing.task import Splits
from bench.testing.checks.readers import Answers, Place, direction
from bench.testing.findings import Unchecked

if TYPE_CHECKING:
    from bench.probing.examples import Examples


@functools.singledispatch
def plant_answers(task: Any, splits: Splits) -> tuple[Splits, Answers]:
    """The examples that features can solve, and the planted features.

    Raises:
        Unchecked: The family has registered no function.
    """
    raise Unchecked(
        f"the family {task.family!r} has registered no function that plants its answers; register "
        "one with bench.testing.plant_answers"
    )


@plant_answers.register(MinimalPairs)
def _pairs(task: MinimalPairs, splits: Splits) -> tuple[Splits, Answers]:
    """Good sentences are likely. Those that are good in one pair and bad in another are dropped."""
    test = splits.test
    good, bad = test["good"], test["bad"]
    consistent = test[~test["good"].isin(bad) & ~test["bad"].isin(good)]
    nats = dict.fromkeys(consistent["bad"], -30.0) | dict.fromkeys(consistent["good"], -1.0)
    splits = dataclasses.replace(splits, test=consistent.reset_index(drop=True))
    return splits, Answers(nats=nats)


@plant_answers.register(FillIn)
def _hidden_words(task: FillIn, splits: Splits) -> tuple[Splits, Answers]:
    """The reader takes the hidden word from the text, so no features are needed."""
    return splits, Answers(has_hidden_words=True)


@plant_answers.register(Retrieval)
def _documents(task: Retrieval, splits: Splits) -> tuple[Splits, Answers]:
    """A query has the features of its best document, which stays its only relevant document."""
    vectors: dict[Place, Any] = {(t, None): direction("document", t) for t in splits.train["text"]}
    best = [
        max(gains_of(some).items(), key=lambda item: item[1]) for some in splits.test["relevant"]
    ]
    text_of = dict(zip(map(str, splits.train["id"]), splits.train["text"], strict=True))
    for text, (name, _) in zip(splits.test["text"], best, strict=True):
        vectors[text, None] = vectors[text_of[name], None]
    relevant: list[Any] = [dict([one]) for one in best]
    test = splits.test.assign(relevant=relevant)
    return dataclasses.replace(splits, test=test), Answers(vectors=vectors)


@plant_answers.register(Clustering)
def _clusters(task: Clustering, splits: Splits) -> tuple[Splits, Answers]:
    """The features of a text are its label; a text with several labels is kept with one of them."""
    vectors: dict[Place, Any] = {}
    frames = []
    for frame in (splits.train, splits.test):
        labels = [str(label) for label in frame["label"]]
        for text, label in zip(frame["text"], labels, strict=True):
            vectors.setdefault((text, None), direction("label", label))
        is_own = [
            vectors[text, None] is direction("label", label)
            for text, label in zip(frame["text"], labels, strict=True)
        ]
        frames.append(frame[is_own].reset_index(drop=True))
    train, test = frames
    return dataclasses.replace(splits, train=train, test=test), Answers(vectors=vectors)


@plant_answers.register(SpanExtraction)
def _spans(task: SpanExtraction, splits: Splits) -> tuple[Splits, Answers]:
    """The features of a word say whether an answer starts or ends there; one question per text."""
    vectors: dict[Place, Any] = {}
    frames = []
    for frame in (splits.train, splits.test):
        frames.append(frame.drop_duplicates("context").reset_index(drop=True))
        for context, answers in zip(frames[-1]["context"], frames[-1]["answers"], strict=True):
            words = word_spans(context)
            offset, end = words[0][0], words[-1][1]
            start = int(answers[0]["start"])
            stop = start + len(str(answers[0]["text"]))
            inside = [i for i, (a, b) in enumerate(words) if a < stop and b > start]
            for i, (a, b) in enumerate(words):
                vector = direction("inside" if i in inside else "outside")
                vector = vector + (i == inside[0]) * direction("first")
                vector = vector + (i == inside[-1]) * direction("last")
                vectors[context[offset:end], (a - offset, b - offset)] = vector
        vectors |= {(question, None): direction("question") for question in frame["question"]}
    train, test = frames
    return dataclasses.replace(splits, train=train, test=test), Answers(vectors=vectors)


@plant_answers.register(ProbedTask)
def _labels(task: ProbedTask, splits: Splits) -> tuple[Splits, Answers]:
    """The features of a text or word encode its label; of two texts, those of the second do.

    Rows whose text or word has another label elsewhere are dropped, and so are test rows whose
    label is not in train: no features could solve them.
    """
    known = {str(label) for label in task.examples(splits.train).labels}
    vectors: dict[Place, Any] = {}
    frames = []
    numbers = _numbers(task.examples(splits.train))
    for frame in (splits.train, splits.test):
        solvable = [
            i
            for i in range(len(frame))
            if _plant(task.examples(frame.iloc[i : i + 1]), vectors, known, numbers)
        ]
        frames.append(frame.iloc[solvable].reset_index(drop=True))
    train, test = frames
    return dataclasses.replace(splits, train=train, test=test), Answers(vectors=vectors)


def _numbers(examples: Examples) -> tuple[float, float] | None:
    """The smallest and the largest label where labels are numbers, else None."""
    if not isinstance(examples.labels, np.ndarray):
        return None
    return float(examples.labels.min()), float(examples.labels.max())


def _plant(
    row: Examples,
    vectors: dict[Place, Any],
    known: set[str],
    numbers: tuple[float, float] | None,
) -> bool:
    """Add the features of one row; False, and nothing added, where they contradict others."""
    texts, spans = row.texts, row.spans
    added: dict[Place, Any] = {}
    if row.pairs is not None:
        first = [(texts[0], spans[0][0] if spans else None)]
        added |= dict.fromkeys(first, direction("first"))
        texts, spans = row.pairs, row.pair_spans
    words = [None] if spans is None else spans[0]
    places: list[Place] = [(texts[0], word) for word in words]
    for place, label in zip(places, row.labels, strict=True):
        if numbers is None and str(label) not in known:
            return False
        vector = direction("label", str(label)) if numbers is None else _rotated(label, numbers)
        if place in added and not np.array_equal(added[place], vector):
            return False
        added[place] = vector
    if any(
        not np.array_equal(vectors.get(place, vector), vector) for place, vector in added.items()
    ):
        return False
    vectors.update(added)
    return True


def _rotated(number: Any, numbers: tuple[float, float]) -> Any:
    """The features of the first text, rotated away further for smaller numbers."""
    low, high = numbers
    angle = (1 - (number - low) / (high - low)) * np.pi / 2
    return np.cos(angle) * direction("first") + np.sin(angle) * direction("other")
