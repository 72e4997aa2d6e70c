"""Rows 12-15, 18, 19 and 25: losses, batches and objectives that go wrong in training."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.engines.execution import prepare
from bench.engines.progress import log_corpus
from bench.errors import BenchError, FailedError
from bench.experiment import resolve
from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.loop import Diverged, Pretraining
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Objective
from bench.records.run_folder import execute, load_run
from bench.settings import settings
from tests.helpers.corpora import numbered_sentences
from tests.helpers.registry import REGISTRY
from tests.helpers.runs import MakeSpec, ignore_progress


@settings
class Broken(Objective):
    """Predicts everything, and breaks its contract in the way that `how` names."""

    name: ClassVar[str] = "broken"
    summary: ClassVar[str] = "for tests"
    source: ClassVar[str] = "tests"
    how: str = "nan"
    at_step: int = 3

    def corrupt(self, batch: Batch, vocabulary: Any, noise: Noise) -> Example:
        labels = torch.where(batch.real, batch.tokens, IGNORED)
        return Example(batch.tokens, Attention("full", batch.attention_mask), labels)

    def loss(self, encoder: Any, head: Any, example: Example, noise: Noise) -> Loss:
        loss = super().loss(encoder, head, example, noise)
        if self.how == "crash":
            raise ZeroDivisionError
        if self.how == "batch":
            example.inputs.add_(0)  # nothing is hidden, so the inputs are the tensor of the batch
        if self.how == "seed":
            torch.manual_seed(0)
        if self.how == "dtype":
            torch.set_default_dtype(torch.float64)
        if self.how == "gradient":
            next(iter(head.parameters())).register_hook(lambda g: g * math.nan)
        if self.how in ("twice", "reset"):
            read = encoder.tokens_read
            encoder(example.inputs, example.attention)
            if self.how == "reset":
                encoder.tokens_read = read
        if self.how == "numpy" and torch.is_grad_enabled():
            COUNT.trained += 1
            if COUNT.trained == 8:  # late, and unseen by torch
                example.inputs.numpy()[0, 0] ^= 1
        if self.how == "deterministic":
            torch.use_deterministic_algorithms(True)
        if self.how == "negative":
            return Loss(loss.sum, -loss.predictions)
        if self.how == "absurd":
            return Loss(loss.sum, loss.predictions * 10**6)
        if self.how == "out of memory" and len(example.inputs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.how == "nan" and COUNT.step == self.at_step:
            return Loss(loss.sum * math.nan, loss.predictions)
        COUNT.step += 1
        return loss


class COUNT:
    step = trained = 0


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    COUNT.step = COUNT.trained = 0


def gradients(run: Pretraining) -> dict[str, torch.Tensor]:
    run._gradient(0.0)
    result = {name: p.grad.clone() for name, p in run.parameters.items() if p.grad is not None}
    run.optimizer.zero_grad()
    return result


@pytest.mark.parametrize("name", ["token", "whole_word", "span", "causal"])
def test_fault_15_micro_batches_give_the_same_gradient(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(name), corpus, "cpu")
    whole = gradients(run)
    run.gradient_accumulation_steps = 4
    parts = gradients(run)
    assert whole.keys() == parts.keys()
    for key in whole:
        assert torch.allclose(whole[key], parts[key], rtol=1e-4, atol=1e-4)


def test_fault_12_non_finite_loss_stops_before_the_weights(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken)
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "diverged"
    assert record["reason"].startswith("loss nan at step")
    encoder, _, _ = load_run(folder, objective)
    assert all(p.isfinite().all() for p in encoder.parameters())
    assert record["spent"]["steps"] < 16


@pytest.mark.parametrize(
    ("how", "item"),
    [
        ("batch", "batch.tokens"),
        ("numpy", "batch.tokens"),
        ("seed", "torch's global generator"),
        ("dtype", "default dtype"),
        ("deterministic", "the deterministic mode"),
    ],
)
def test_fault_18_side_effects_of_an_objective_are_refused(
    how: str, item: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how=how)
    try:
        with pytest.raises(BenchError, match=f"'broken' broke its contract: it changed.*{item}"):
            execute(spec, objective, corpus, tmp_path, ignore_progress)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


def test_fault_12_non_finite_gradient_stops_before_the_weights(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how="gradient")
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    assert "gradient norm nan" in json.loads((folder / "run.json").read_text())["reason"]
    encoder, _, _ = load_run(folder, objective)
    assert all(p.isfinite().all() for p in encoder.parameters())


def test_changed_code_is_accepted_without_a_checkpoint(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    """A plugin crashed before the first checkpoint, and its author repaired it."""
    spec, objective = make_spec(Broken, how="crash")
    with pytest.raises(ZeroDivisionError):
        execute(spec, objective, corpus, tmp_path, ignore_progress)
    repaired = dataclasses.replace(spec, objective_code="f" * 64)
    assert execute(
        repaired, make_spec(Broken, how="none")[1], corpus, tmp_path, ignore_progress
    ).is_dir()


def test_fault_19_undeclared_second_pass_is_refused(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how="twice")
    with pytest.raises(BenchError, match="broke its contract"):
        execute(spec, objective, corpus, tmp_path, ignore_progress)


def test_fault_14_out_of_memory_halves_the_micro_batch(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    limited = Pretraining(*make_spec(Broken, how="out of memory"), corpus, "cpu")
    unlimited = Pretraining(*make_spec(Broken, how="none"), corpus, "cpu")
    limited.step()
    unlimited.step()
    assert limited.gradient_accumulation_steps == 4  # 8 rows, 2 fit
    assert limited.ledger.predictions == unlimited.ledger.predictions
    for ours, theirs in zip(
        limited.encoder.parameters(), unlimited.encoder.parameters(), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-3)


def test_fault_19_the_counter_of_positions_cannot_be_set(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    with pytest.raises(AttributeError, match="tokens_read"):
        Pretraining(*make_spec(Broken, how="reset"), corpus, "cpu").step()


@pytest.mark.parametrize("how", ["negative", "absurd"])
def test_fault_19_absurd_numbers_of_predictions_are_refused(
    how: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    with pytest.raises(BenchError, match=r"broke its contract: it counts .* predictions"):
        Pretraining(*make_spec(Broken, how=how), corpus, "cpu").step()


def test_fault_25_epochs_of_a_small_corpus_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.txt").write_text("\n\n".join(numbered_sentences(200)))  # 10 kB
    experiment = resolve(
        "token", REGISTRY, corpus=tmp_path / "small.txt", tasks="none", budget="1M"
    )
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        log_corpus(experiment, prepare(experiment))
    assert re.search(r"warning: the budget reads this corpus \d{2,3}\.\d times", errors.getvalue())


@settings
class BrokenFours(Broken):
    """Four rows must be in one micro-batch."""

    name: ClassVar[str] = "broken_fours"

    @property
    def rows_together(self) -> int:
        return 4


def test_fault_14_out_of_memory_never_cuts_a_group_of_rows(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(BrokenFours, how="out of memory"), corpus, "cpu")
    with pytest.raises(torch.OutOfMemoryError):  # 2 rows fit, and a group has 4
        run.step()
    assert run.gradient_accumulation_steps == 2


@pytest.mark.slow
def test_fault_13_steps_without_predictions_are_counted_and_do_not_divide_by_zero(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    with pytest.raises(FailedError, match="asks for nothing"):  # before the first step
        execute(*make_spec(rate=0.0), corpus, tmp_path, ignore_progress)
    run = Pretraining(*make_spec(rate=0.0), corpus, "cpu")
    before = {name: weight.clone() for name, weight in run.parameters.items()}
    run.train(ignore_progress, lambda: None)
    assert run.ledger.empty_steps == run.ledger.steps == 16
    assert all(torch.equal(weight, before[name]) for name, weight in run.parameters.items())
    run = Pretraining(*make_spec(rate=0.0, budget="100pred"), corpus, "cpu")
    with pytest.raises(BenchError, match="predicted nothing in 100 steps"):
        run.train(ignore_progress, lambda: None)


def test_fault_12_diverged_is_not_a_user_error() -> None:
    assert not issubclass(Diverged, BenchError)
