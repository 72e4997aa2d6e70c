"""Checks of a task: its data, its scores, and the reader that it uses.

Readers with known features replace runs: with random features a task must score chance, and with
planted answers almost everything. A task whose data is missing is reported as not checked, never as
passed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.errors import BenchError
from bench.pretraining.guard import process_state
from bench.pretraining.noise import Noise
from bench.probing.sampling import uniform
from bench.probing.task import DataRoot, NotApplicableError, Score, Splits, Task
from bench.settings import canonical_json
from bench.testing.checks.planting import plant_answers
from bench.testing.checks.readers import SyntheticReader
from bench.testing.findings import Inapplicable, Unchecked, demand, place

if TYPE_CHECKING:
    from bench.probing.reader.reader import RunReader

EXAMPLES = 200
"""Examples of each split, unless `limit` is set: enough to tell solving and guessing apart."""
FEW_EXAMPLES = 40
"""Examples for checks that need no score."""
SLACK = 0.02
"""Added to three standard errors, for scores that are not a share of correct answers."""
NEAR_TOP = 0.8
"""Share of the way from chance to 1: probes are regularised and see `EXAMPLES` examples."""


def check_missing_data(task: Task, data: DataRoot | None = None) -> None:
    """A folder without the data set raises an error at once, with the way out."""
    with tempfile.TemporaryDirectory() as folder:
        empty = DataRoot(Path(folder), limit=FEW_EXAMPLES)
        where = place(task, "require")
        try:
            task.require(empty)
        except BenchError as error:
            seen = f"the message {str(error)!r}"
            demand(folder in str(error), "a message that names the folder", seen, where)
            return
        try:
            task.load(empty)
        except BenchError as error:
            if folder not in str(error):
                raise Inapplicable(f"the task reads no file: {error}") from None
            demand(
                False,
                "require() to report what load() misses",
                f"the error of load(): {error}",
                where,
            )
    raise Inapplicable("the task generates its examples")


def check_examples(task: Task, data: DataRoot | None = None) -> None:
    """The examples are usable and have a fingerprint, and no test example is in train."""
    splits = examples_of(task, data)
    where = place(task, "load")
    try:
        task.check(splits)
    except BenchError as error:
        demand(False, "usable examples", str(error), where)
    is_hash = isinstance(splits.sha256, str) and len(splits.sha256) == 64
    demand(is_hash, "sha256 of the examples in hexadecimal", repr(splits.sha256), where)
    for name, frame in (("train", splits.train), ("test", splits.test)):
        index = list(frame.index[:3])
        fits = list(frame.index) == list(range(len(frame)))
        demand(fits, f"rows of {name} numbered from 0", f"{index}", where)


def check_deterministic(task: Task, data: DataRoot | None = None) -> None:
    """The same data and reader give the same examples and the same score."""
    splits = examples_of(task, data)
    again = task.load(_bounded(data))
    seen = f"{splits.sha256[:8]} and then {again.sha256[:8]}"
    fits = splits.sha256 == again.sha256
    demand(fits, "the same fingerprint of the same data", seen, place(task, "load"))
    one, other = _blind(task, _bounded(data)), task.score(SyntheticReader(), again, _noise())
    fits = one.value == other.value and one.outcomes.equals(other.outcomes)
    seen = f"{one.value:.6g} and then {other.value:.6g}"
    demand(fits, "the same score of the same reader", seen, place(task, "score"))


def check_outcomes(task: Task, data: DataRoot | None = None) -> None:
    """A score has a finite value and error, outcomes per example, and JSON details."""
    splits, where = examples_of(task, data), place(task, "score")
    score = _blind(task, _bounded(data))
    numbers = {"value": score.value, "stderr": score.stderr}
    fits = all(math.isfinite(number) for number in numbers.values()) and score.stderr >= 0
    demand(fits, "a finite value and error", f"{numbers}", where)
    columns, outcomes = list(score.outcomes.columns), score.outcomes
    fits = {"example", "outcome"} <= set(columns)
    demand(fits, "outcomes with the columns example and outcome", f"{columns}", where)
    examples = outcomes["example"].tolist()
    is_known = set(examples) <= set(range(len(splits.test)))
    fits = is_known and len(set(examples)) == len(examples) and 2 * len(examples) > len(splits.test)
    seen = f"{len(examples)} rows, {len(set(examples))} examples, of {len(splits.test)}"
    expected = "an outcome for each test example (or most of them, where some serve for choices)"
    demand(fits, expected, seen, where)
    if task.metric_of(splits) == "accuracy":
        mean = float(outcomes["outcome"].mean())
        expected = f"the mean of the outcomes to be the accuracy {score.value:.6g}"
        demand(math.isclose(mean, score.value, abs_tol=1e-9), expected, f"{mean:.6g}", where)
    if score.metrics:
        first = next(iter(score.metrics.items()))
        fits = math.isclose(first[1][0], score.value, abs_tol=1e-9)
        demand(fits, f"the value {score.value:.6g} as the first metric", f"{first}", where)
    try:
        canonical_json(score.details)
    except (TypeError, ValueError) as error:
        demand(False, "details that are JSON values", str(error), where)


def check_random_features(task: Task, data: DataRoot | None = None) -> None:
    """Random features score chance, within three standard errors.

    Chance is at least the score of random features. It may be the score of word identities or of
    the most frequent answer. A chance level above all three is wrong, because no guess reaches it.
    """
    _demand_quality(task)
    splits, where = examples_of(task, data), f"{place(task)}: chance"
    blind = _blind(task, _bounded(data))
    chance = task.chance_of(splits)
    demand(chance is not None, "the loaded examples to have a chance level", "None", where)
    assert chance is not None  # for the type checker
    spread = min(1.0, abs(chance))
    error = max(blind.stderr, math.sqrt(spread * (1 - spread) / len(blind.outcomes)))
    margin = 3 * error + SLACK
    seen = f"{blind.value:.4f} ± {error:.4f} with random features, and chance {chance}"
    expected = "random features to score no more than chance"
    bound = max(chance, _in_random_order(task, splits)) + margin
    demand(blind.value <= bound, expected, seen, where)
    if chance <= blind.value + margin:
        return
    majority = task.baselines(splits, _noise()).get("majority", blind)
    words = task.score(SyntheticReader(has_word_features=True), splits, _noise())
    guessed = max(blind.value, majority.value, words.value)
    seen = f"{guessed:.4f} at best without context, and chance {chance}"
    expected = "chance to be the score of guessing"
    demand(chance <= guessed + margin, expected, seen, where)


def _in_random_order(task: Task, splits: Splits) -> float:
    """The score of the right tags in random order; below any other for tasks that have none.

    Frequent spans of one word are hit by chance, so a probe that guesses by frequency is above the
    most frequent tag, which gives no span at all.
    """
    from bench.probing.families.tagging import Tagging, all_labels

    if not isinstance(task, Tagging):
        return -math.inf
    labels = np.array(all_labels(splits.test), dtype=object)
    shuffled = labels[np.argsort(uniform(_noise(), "check.order", len(labels)), kind="stable")]
    return task.score_predictions(splits, shuffled.tolist(), {}).value


def _demand_quality(task: Task) -> None:
    if task.is_diagnostic:
        raise Inapplicable(
            "the task is a diagnostic: no score is that of guessing or of solving it"
        )


def check_planted_features(task: Task, data: DataRoot | None = None) -> None:
    """Planted answers score almost everything."""
    _demand_quality(task)
    splits, answers = plant_answers(task, examples_of(task, data))
    score = task.score(SyntheticReader(answers), splits, _noise())
    chance = task.chance_of(splits) or 0.0
    bar = chance + NEAR_TOP * (1 - chance)
    seen = f"{score.value:.4f} over {len(score.outcomes)} examples"
    expected = f"at least {bar:.2f} where the features encode the answers"
    demand(score.value >= bar, expected, seen, place(task, "score"))


def check_not_applicable(task: Task, data: DataRoot | None = None) -> None:
    """For a run that predicts no tokens, the task scores features or is not applicable, never 0."""
    few = dataclasses.replace(_bounded(data), limit=FEW_EXAMPLES)
    splits, where = examples_of(task, few), place(task, "score")
    reader = _RecordingReader(scoring=None)
    try:
        score = task.score(reader, splits, _noise())
    except NotApplicableError:
        return
    seen = f"{score.value} although the reader refused"
    demand(not reader.refused, "NotApplicableError to be passed on", seen, where)


def check_reader_untouched(task: Task, data: DataRoot | None = None) -> None:
    """Scoring changes no encoder, features, examples or state of the process."""
    few = dataclasses.replace(_bounded(data), limit=FEW_EXAMPLES)
    splits, where = examples_of(task, few), place(task, "score")
    copies = splits.train.copy(deep=True), splits.test.copy(deep=True)
    reader = _tiny_reader()
    before, words = _fingerprint(reader), ["some words", "some more words"]
    features, process = reader.features(words).pooled.copy(), process_state()
    task.score(reader, splits, _noise())
    after = process_state()
    changed = [name for name in process if process[name] != after[name]]
    changed += [] if _fingerprint(reader) == before else ["the encoder"]
    changed += [] if np.array_equal(reader.features(words).pooled, features) else ["features"]
    for name, copy in zip(("train", "test"), copies, strict=True):
        is_same = repr(getattr(splits, name).to_dict()) == repr(copy.to_dict())
        changed += [] if is_same else [f"the {name} split"]
    seen = f"{', '.join(changed)} changed"
    demand(not changed, "reader, examples and process to stay unchanged", seen, where)


def examples_of(task: Task, data: DataRoot | None = None) -> Splits:
    """A limited number of the task's examples; read once for all checks.

    Raises:
        Unchecked: The data is missing; the message says how to get it.
    """
    bounded = _bounded(data)
    try:
        task.require(bounded)
    except BenchError as error:
        raise Unchecked(f"no data: {error}") from None
    try:
        return _loaded(task, bounded)
    except BenchError as error:
        if bounded.prepared is None and str(bounded.folder) not in str(error):
            raise Unchecked(f"no data: {error}; give a corpus with --corpus") from None
        raise  # the data exists and cannot be read


@functools.lru_cache(maxsize=4)
def _loaded(task: Task, data: DataRoot) -> Splits:
    return task.load(data)


@functools.lru_cache(maxsize=4)
def _blind(task: Task, data: DataRoot) -> Score:
    """The score of random features; computed once for all checks."""
    return task.score(SyntheticReader(), examples_of(task, data), _noise())


def _bounded(data: DataRoot | None) -> DataRoot:
    root = DataRoot() if data is None else data
    return root if root.limit is not None else dataclasses.replace(root, limit=EXAMPLES)


def _noise() -> Noise:
    return Noise(0, 0, torch.arange(1))


class _RecordingReader(SyntheticReader):
    """Records whether it refused to predict."""

    refused = False

    def _demand_scoring(self) -> None:
        self.refused = True
        super()._demand_scoring()


def _tiny_reader() -> RunReader:
    """An untrained encoder with a character tokenizer."""
    from bench.corpus.trainer import char_tokenizer
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.heads import TokenHead
    from bench.probing.reader.reader import RunReader
    from bench.spec import EncoderShape

    tokenizer = char_tokenizer(["abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"] * 2, 64)
    shape = EncoderShape(
        hidden_size=8, num_layers=1, num_heads=1, mlp_size=8, max_length=32,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    return RunReader(Encoder(shape, 0), TokenHead(shape), tokenizer, "masked")


def _fingerprint(reader: RunReader) -> tuple[object, ...]:
    """Weights, gradients and training flag of the reader's encoder."""
    encoder = reader.encoder
    weights = [p.detach().numpy().tobytes() for p in encoder.parameters()]
    gradients = [p.grad is None and p.requires_grad for p in encoder.parameters()]
    return encoder.training, tuple(map(hash, weights)), tuple(gradients)
