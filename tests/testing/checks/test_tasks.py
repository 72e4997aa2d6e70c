"""A fault for every check of a task: it fails that check and passes all others."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.probing.families.classification import TextClassification
from bench.probing.families.fill_in import FillIn
from bench.probing.families.minimal_pairs import MinimalPairs
from bench.probing.families.pair_classification import PairClassification
from bench.probing.families.retrieval import Retrieval
from bench.probing.families.similarity import Similarity
from bench.probing.families.span_extraction import SpanExtraction
from bench.probing.families.tagging import Tagging
from bench.probing.task import NotApplicableError, Score, Splits, Task
from bench.testing import TASK_CHECKS, SyntheticReader, plant_answers
from bench.testing.findings import Unchecked, run_check
from tests.helpers.faults import by_name, failed_checks, failure_message

COUNT = 60
_loads = itertools.count()


def frames(columns) -> Splits:
    """Two splits with the columns that a function gives for the name of the split."""
    splits = [pd.DataFrame(columns(split)) for split in ("train", "test")]
    return Splits(*splits, sha256="0" * 64)


class Fine(TextClassification):
    """A correct task: even or odd numbers."""

    name: ClassVar[str] = "fine"
    summary: ClassVar[str] = "even or odd"
    source: ClassVar[str] = "made for a test"
    chance: ClassVar[float] = 0.5

    def load(self, data):
        numbers = range(COUNT if data.limit is None else min(COUNT, data.limit))
        return frames(
            lambda split: {
                "text": [f"{split} number {i}" for i in numbers],
                "label": ["odd" if i % 2 else "even" for i in numbers],
            }
        )


class FinePairs(MinimalPairs):
    """A correct task: good or bad sentences."""

    name: ClassVar[str] = "fine_pairs"
    summary: ClassVar[str] = "good or bad"
    source: ClassVar[str] = "made for a test"

    def load(self, data):
        rows = {column: [f"{column} {i}" for i in range(COUNT)] for column in ("good", "bad")}
        return frames(lambda split: rows | {"bucket": ["all"] * COUNT})


class Undescribed(Fine):
    source: ClassVar[str] = ""


class Silent(Fine):
    """Needs a file, and reports a missing one in `load` instead of `require`."""

    def load(self, data):
        if data.folder is not None:
            raise BenchError(f"nothing in {data.folder}")
        return super().load(data)


class Unmarked(Fine):
    def load(self, data):
        return dataclasses.replace(super().load(data), sha256="new")


class Wavering(Fine):
    def load(self, data):
        return dataclasses.replace(super().load(data), sha256=f"{next(_loads):064x}")


class Forgetting(Fine):
    def score(self, reader, splits, noise):
        score = super().score(reader, splits, noise)
        return dataclasses.replace(score, outcomes=score.outcomes.iloc[::3])


class Boasting(Fine):
    chance: ClassVar[float] = 0.85


class Confusing(Fine):
    """Assigns predictions to the wrong examples."""

    def score_predictions(self, splits, predicted, details):
        return super().score_predictions(
            splits, np.roll(predicted, 1)[np.arange(len(predicted)) // 2], details
        )


class Zeroing(FinePairs):
    """Scores 0 where the task does not apply to the run."""

    def score(self, reader, splits, noise):
        try:
            return super().score(reader, splits, noise)
        except NotApplicableError:
            return Score(0.0, 0.0, pd.DataFrame({"example": [], "outcome": []}))


class Training(Fine):
    def score(self, reader, splits, noise):
        score = super().score(reader, splits, noise)
        if hasattr(reader, "encoder"):
            with torch.no_grad():
                next(reader.encoder.parameters()).add_(1e-3)
        return score


FAULTS = {
    "task_metadata": Undescribed,
    "missing_data": Silent,
    "examples": Unmarked,
    "deterministic": Wavering,
    "outcomes": Forgetting,
    "random_features": Boasting,
    "planted_features": Confusing,
    "not_applicable": Zeroing,
    "reader_untouched": Training,
}
CHECKS = by_name(TASK_CHECKS)


def test_every_check_has_its_fault() -> None:
    assert list(FAULTS) == list(CHECKS)


@pytest.mark.parametrize("cls", [Fine, FinePairs])
def test_a_correct_task_passes(cls: type[Task]) -> None:
    assert failed_checks(cls(), CHECKS) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_check(name: str) -> None:
    failure_message(FAULTS[name](), CHECKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_no_other_check(name: str) -> None:
    assert failed_checks(FAULTS[name](), CHECKS) == [name]


def test_random_features_above_chance_are_a_leak() -> None:
    """A task that scores its own labels is detected with random features."""

    class Leaking(Fine):
        def score_predictions(self, splits, predicted, details):
            return super().score_predictions(splits, list(splits.test["label"]), details)

    message = run_check(CHECKS["random_features"], Leaking()).message
    assert "expected random features to score no more than chance; saw 1.0000" in message


def test_missing_data_is_not_checked() -> None:
    class Elsewhere(Fine):
        def require(self, data):
            raise BenchError("no test split: give --data DIR")

    finding = run_check(CHECKS["outcomes"], Elsewhere())
    assert finding.status == "not checked"
    assert finding.message == "no data: no test split: give --data DIR"


class Tags(Tagging):
    name, summary, source, chance = "tags", "", "", 0.5

    def load(self, data):
        return frames(
            lambda split: {
                "words": [[split, f"w{i}", "end"] for i in range(COUNT)],
                "labels": [[None, "ab"[i % 2], "cd"[i % 2]] for i in range(COUNT)],
            }
        )


class Couples(PairClassification):
    name, summary, source, chance = "couples", "", "", 0.5

    def load(self, data):
        return frames(
            lambda split: {
                "text": [f"{split} {i}" for i in range(COUNT)],
                "text_pair": [f"{split} other {i}" for i in range(COUNT)],
                "label": [i % 2 for i in range(COUNT)],
            }
        )


class Alike(Similarity):
    name, summary, source = "alike", "", ""

    def load(self, data):
        couples = Couples().load(data)
        splits = [f.assign(score=np.linspace(0, 5, COUNT)) for f in (couples.train, couples.test)]
        return Splits(*splits, sha256="0" * 64)


class Documents(Retrieval):
    name, summary, source, chance = "documents", "", "", 0.08

    def load(self, data):
        documents = {"id": [f"d{i}" for i in range(COUNT)], "text": [f"t{i}" for i in range(COUNT)]}
        queries = {
            "text": [f"q{i}" for i in range(COUNT)],
            "relevant": [[f"d{i}", f"d{(i + 1) % COUNT}"] for i in range(COUNT)],
        }
        return frames(lambda split: documents if split == "train" else queries)


class Gaps(FillIn):
    name, summary, source, chance = "gaps", "", "", 0.0

    def load(self, data):
        return frames(
            lambda split: {
                "text": [f"say word{i} twice" for i in range(COUNT)],
                "start": [4] * COUNT,
                "end": [9 + (i > 9) for i in range(COUNT)],
            }
        )


class Passages(SpanExtraction):
    name, summary, source, chance = "passages", "", "", 0.25

    def load(self, data):
        contexts = [f"{'so ' * (i % 7)}the key{i} of it lies here" for i in range(COUNT)]
        return frames(
            lambda split: {
                "question": [f"{split} question {i}" for i in range(COUNT)],
                "context": [f"{split} {context}" for context in contexts],
                "answers": [
                    [{"text": f"key{i} of", "start": f"{split} {context}".index("key")}]
                    for i, context in enumerate(contexts)
                ],
            }
        )


@pytest.mark.parametrize(
    "cls", [pytest.param(Tags, marks=pytest.mark.slow), Couples, Alike, Documents, Gaps, Passages]
)
def test_every_family_can_be_planted(cls: type[Task]) -> None:
    task = cls()
    assert run_check(CHECKS["planted_features"], task).status == "passed"
    blind = run_check(CHECKS["random_features"], task)
    assert blind.status == "passed", blind.message


def test_an_unknown_family_is_not_checked() -> None:
    with pytest.raises(Unchecked, match="has registered no function that plants"):
        plant_answers(object.__new__(type("Other", (), {"family": "other"})), None)


def test_word_features_do_not_depend_on_context() -> None:
    texts, spans = ["a bank", "the bank"], [[(2, 6)], [(4, 8)]]
    blind = SyntheticReader().features(texts, spans).spans
    words = SyntheticReader(has_word_features=True).features(texts, spans).spans
    assert blind is not None
    assert words is not None
    assert not np.allclose(blind[0], blind[1])
    assert np.array_equal(words[0, 1], words[1, 1])
    assert not np.allclose(words[0, 0], words[1, 0])
