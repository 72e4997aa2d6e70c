"""Sums that are read a step late give the run that reads them at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import StoppedError
from bench.pretraining.batch import Loss
from bench.pretraining.checkpoint import load_checkpoint, restore
from bench.pretraining.loop import Diverged, Pretraining
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Objective
from bench.records.unfinished import train
from bench.settings import settings

MakeSpec = Callable[..., Any]
STEPS = 16


@settings
class Infinite(Objective):
    """Predicts everything; at one step the loss or its gradient is not finite, or empty."""

    name: ClassVar[str] = "infinite"
    summary: ClassVar[str] = "for tests"
    source: ClassVar[str] = "tests"
    what: str = "loss"
    at_step: int = 5

    def corrupt(self, batch: Any, vocabulary: Any, noise: Noise) -> Any:
        from bench.pretraining.batch import IGNORED, Attention, Example

        labels = torch.where(batch.real, batch.tokens, IGNORED)
        if self.what == "nothing" and abs(batch.progress - self.at_step / STEPS) < 1e-6:
            labels = torch.full_like(labels, IGNORED)
        is_now = torch.tensor(abs(batch.progress - self.at_step / STEPS) < 1e-6)
        return Example(batch.tokens, Attention("full"), labels, extras={"is_now": is_now})

    def loss(self, encoder: Any, head: Any, example: Any, noise: Noise) -> Loss:
        loss = super().loss(encoder, head, example, noise)
        is_now = bool(example.extras["is_now"])
        if self.what == "loss" and is_now:
            return dataclasses.replace(loss, sum=loss.sum * math.nan)
        if self.what == "gradient" and is_now:
            parameter = next(iter(head.parameters()))
            infinite = (parameter.sum() * 0.0 + 0.0).sqrt()  # 0, with an infinite derivative
            return dataclasses.replace(loss, sum=loss.sum + infinite)
        return loss


def run_of(arguments: Any, corpus: PreparedCorpus, is_late: bool, micro: int = 2) -> Pretraining:
    run = Pretraining(*arguments, corpus, "cpu")
    run.gradient_accumulation_steps, run.is_late = micro, is_late
    return run


def outcome(run: Pretraining, work: Path) -> tuple[str, str | None]:
    return train(run, work, lambda progress: None, lambda: None)


def assert_equal(late: Pretraining, now: Pretraining) -> None:
    seconds = {"seconds": 0.0}
    assert dataclasses.replace(late.ledger, **seconds) == dataclasses.replace(now.ledger, **seconds)
    for a, b in zip(late.parameters.values(), now.parameters.values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(late.curve, now.curve, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, nan_ok=True), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["token", "mixture"])
def test_a_late_run_is_the_run(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    late, now = (run_of(make_spec(name), corpus, is_late) for is_late in (True, False))
    assert outcome(late, tmp_path / "a") == outcome(now, tmp_path / "b") == ("finished", None)
    assert_equal(late, now)


@pytest.mark.parametrize("what", ["loss", "gradient", "nothing"])
def test_a_step_without_a_gradient_is_skipped_and_reported_with_its_number(
    what: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    late, now = (
        run_of(make_spec(Infinite, what=what), corpus, is_late) for is_late in (True, False)
    )
    status, reason = outcome(late, tmp_path / "a")
    assert (status, reason) == outcome(now, tmp_path / "b")
    assert status == ("finished" if what == "nothing" else "diverged")
    assert reason is None or reason.endswith("at step 5")
    assert late.ledger.steps == (STEPS if what == "nothing" else 5)
    assert late.ledger.empty_steps == (what == "nothing")
    assert_equal(late, now)


@pytest.mark.slow
def test_a_late_run_resumes_from_a_checkpoint_with_all_of_its_sums(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    whole = run_of(make_spec(), corpus, True)
    outcome(whole, tmp_path / "a")
    part, left = run_of(make_spec(), corpus, True), [6]  # no point of the curve

    def stop() -> BaseException | None:
        left[0] -= 1
        return None if left[0] else StoppedError("stopped")

    with pytest.raises(StoppedError):
        train(part, tmp_path / "b", lambda progress: None, stop)
    rest = run_of(make_spec(), corpus, True)
    restore(rest, *(load_checkpoint(tmp_path / "b") or ({}, {})), tmp_path)
    assert rest.ledger.steps == 6
    outcome(rest, tmp_path / "b")
    for a, b in zip(rest.parameters.values(), whole.parameters.values(), strict=True):
        assert torch.equal(a, b)
    assert_equal(rest, whole)


def test_a_late_step_is_not_waited_for(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    run = run_of(make_spec(), corpus, True)
    assert math.isnan(run.step())
    assert run.ledger.steps == 1
    assert run.ledger.predictions == 0
    assert run.step() > 0
    first = run.ledger.predictions
    assert first > 0
    run.settle()
    assert run.ledger.predictions > first
    run.settle()  # nothing is pending


def test_divergence_of_the_last_step_is_raised_by_settle(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = run_of(make_spec(Infinite, at_step=0), corpus, True)
    before = [p.detach().clone() for p in run.parameters.values()]
    run.step()
    with pytest.raises(Diverged, match="loss nan at step 0"):
        run.settle()
    assert all(torch.equal(a, b) for a, b in zip(run.parameters.values(), before, strict=True))
    assert run.ledger.steps == 0
