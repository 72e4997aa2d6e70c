from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError, RefusedError, StoppedError
from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.checkpoint import checkpoints
from bench.pretraining.loop import Diverged, Pretraining
from bench.pretraining.noise import Noise
from bench.pretraining.objective import MaskedObjective, Objective
from bench.pretraining.optimization import learning_rate_schedule
from bench.records.run_folder import UNFINISHED, execute, load_run
from bench.settings import settings
from bench.storage import file_sha256

MakeSpec = Callable[..., Any]


def ignore_progress(_progress: object) -> None:
    pass


def stop_after(steps: int) -> Callable[[], BaseException | None]:
    """A `should_stop` that requests a stop after some steps."""
    left = [steps]

    def should_stop() -> BaseException | None:
        left[0] -= 1
        return StoppedError("stopped") if left[0] <= 0 else None

    return should_stop


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
        if self.how == "twice":
            encoder(example.inputs, example.attention)
        if self.how == "out of memory" and len(example.inputs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.how == "nan" and COUNT.step == self.at_step:
            return Loss(loss.sum * math.nan, loss.predictions)
        COUNT.step += 1
        return loss


class COUNT:
    step = 0


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    COUNT.step = 0


def gradients(run: Pretraining) -> dict[str, torch.Tensor]:
    run._gradient(0.0)
    result = {name: p.grad.clone() for name, p in run.parameters.items() if p.grad is not None}
    run.optimizer.zero_grad()
    return result


@pytest.mark.parametrize("name", ["token", "whole_word", "span", "causal"])
def test_micro_batches_give_the_same_gradient(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(name), corpus, "cpu")
    whole = gradients(run)
    run.gradient_accumulation_steps = 4
    parts = gradients(run)
    assert whole.keys() == parts.keys()
    for key in whole:
        assert torch.allclose(whole[key], parts[key], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["causal", *(pytest.param(n, marks=pytest.mark.slow) for n in ("token", "whole_word", "span"))],
)
def test_loss_falls_below_the_unigram_loss(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    budget = 50_000 if name == "causal" else 100_000
    spec, objective = make_spec(name, budget=str(budget))
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    record = json.loads((folder / "run.json").read_text())
    curve = pq.read_table(folder / "curve.parquet").to_pylist()
    assert curve[0]["step" if "step" in curve[0] else "steps"] == 0
    assert abs(curve[0]["validation_loss"] - record["reference_nats"]["log_vocabulary"]) < 0.5
    assert curve[-1]["validation_loss"] < record["reference_nats"]["unigram"]
    assert curve[-1]["tokens"] == record["spent"]["tokens"] >= budget
    assert record["status"] == "finished"
    assert record["tokens_per_second"] > 0


def test_all_objectives_have_the_same_initial_encoder_and_rows(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    runs = [Pretraining(*make_spec(name), corpus, "cpu") for name in ("token", "span", "causal")]
    for run in runs[1:]:
        assert run.order == runs[0].order
        for ours, theirs in zip(
            run.encoder.parameters(), runs[0].encoder.parameters(), strict=True
        ):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("budget", ["2000", "100pred", "3e8flop", "0.1s"])
def test_run_stops_at_the_first_step_over_the_budget(
    budget: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(budget=budget)
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    spent = json.loads((folder / "run.json").read_text())["spent"]
    amount, steps = spent[spec.budget.axis], spent["steps"]
    assert amount >= spec.budget.amount
    if spec.budget.axis != "seconds":
        assert amount * (steps - 1) / steps < spec.budget.amount
    assert all(spent[axis] > 0 for axis in ("tokens", "predictions", "flops", "seconds"))


def test_untrained_is_the_initial_encoder(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec("untrained")
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    encoder, _, _ = load_run(folder, objective)
    initial = Pretraining(*make_spec("token"), corpus, "cpu").encoder
    for ours, theirs in zip(encoder.parameters(), initial.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert json.loads((folder / "run.json").read_text())["spent"]["steps"] == 0


@pytest.mark.parametrize("name", ["causal", pytest.param("span", marks=pytest.mark.slow)])
def test_resumed_run_is_bit_equal_to_an_uninterrupted_run(
    name: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(name)
    whole = execute(spec, objective, corpus, tmp_path / "a", ignore_progress)
    for steps in (1, 4, 6):
        with pytest.raises(StoppedError):
            execute(spec, objective, corpus, tmp_path / "b", ignore_progress, stop_after(steps))
    assert not (tmp_path / "b" / spec.id).exists()
    resumed = execute(spec, objective, corpus, tmp_path / "b", ignore_progress)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    curves = [pq.read_table(f / "curve.parquet").to_pylist() for f in (whole, resumed)]
    for a, b in zip(*curves, strict=True):
        a.pop("seconds"), b.pop("seconds")
        assert repr(a) == repr(b)
    assert not list((tmp_path / "b" / UNFINISHED).glob("*/step-*"))


@pytest.fixture(scope="module")
def whole(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run. Tests copy it and do not change it."""
    return execute(*make_spec(), corpus, tmp_path_factory.mktemp("whole"), ignore_progress)


def test_finished_run_is_reused(whole: Path, make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    before = (whole / "run.json").stat().st_mtime_ns
    assert execute(*make_spec(), corpus, whole.parent, ignore_progress) == whole
    assert (whole / "run.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def stopped(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that stopped after five steps. Tests copy it and do not change it."""
    runs = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        execute(*make_spec(), corpus, runs, ignore_progress, stop_after(5))
    return runs


@pytest.fixture
def interrupted(stopped: Path, make_spec: MakeSpec, tmp_path: Path) -> tuple[Any, Path]:
    """A copy of the stopped run in the folder of the test, as (arguments of `execute`, folder)."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    arguments = make_spec()
    return arguments, tmp_path / UNFINISHED / arguments[0].unfinished_id


@pytest.mark.parametrize("file", ["encoder", "optimizer", "head"])
@pytest.mark.parametrize("fault", ["flip", "cut", "empty", "missing", "pickle"])
def test_damaged_checkpoint_is_refused(
    file: str, fault: str, interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    arguments, work = interrupted
    path = checkpoints(work)[-1] / f"{file}.safetensors"
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    damaged = {
        "flip": bytes(payload), "cut": bytes(payload[:100]), "empty": b"",
        "pickle": b"\x80\x04cos\nsystem\n(S'false'\ntR.",
    }  # fmt: skip
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[fault])
    with pytest.raises(RefusedError, match=path.name):
        execute(*arguments, corpus, tmp_path, ignore_progress)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("corpus_sha256", "f" * 64, "the corpus changed.*f{64}"),
        ("tokenizer_sha256", "f" * 64, "the tokenizer changed.*f{64}"),
        ("objective_code", "f" * 64, "the code of objective token changed"),
        ("torch_version", "9.9", "not bit-exact: torch version.*9.9"),
    ],
)
def test_resuming_from_something_else_is_refused(
    field: str, value: str, message: str, interrupted: tuple[Any, Path], corpus: PreparedCorpus,
    tmp_path: Path,
) -> None:  # fmt: skip
    (spec, objective), _ = interrupted
    changed = dataclasses.replace(spec, **{field: value})
    with pytest.raises(RefusedError, match=message):
        execute(changed, objective, corpus, tmp_path, ignore_progress)
    if field == "torch_version":
        folder = execute(changed, objective, corpus, tmp_path, ignore_progress, allow_inexact=True)
        assert json.loads((folder / "run.json").read_text())["is_inexact"] is True


def test_non_finite_loss_stops_before_the_weights(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken)
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "diverged"
    assert "step" in record["reason"]
    encoder, _, _ = load_run(folder, objective)
    assert all(p.isfinite().all() for p in encoder.parameters())
    assert record["spent"]["steps"] < 16


@pytest.mark.parametrize(
    ("how", "item"),
    [("batch", "batch.tokens"), ("seed", "torch's global generator"), ("dtype", "default dtype")],
)
def test_side_effects_of_an_objective_are_refused(
    how: str, item: str, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how=how)
    try:
        with pytest.raises(BenchError, match=f"'broken' broke its contract: it changed.*{item}"):
            execute(spec, objective, corpus, tmp_path, ignore_progress)
    finally:
        torch.set_default_dtype(torch.float32)


def test_non_finite_gradient_stops_before_the_weights(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how="gradient")
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress)
    assert "gradient norm" in json.loads((folder / "run.json").read_text())["reason"]
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


def test_damaged_finished_run_is_refused(
    whole: Path, make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec()
    path = shutil.copytree(whole, tmp_path / whole.name) / "encoder.safetensors"
    payload = bytearray(path.read_bytes())
    payload[-7] ^= 1
    path.write_bytes(payload)
    with pytest.raises(RefusedError, match=r"encoder\.safetensors was changed"):
        execute(spec, objective, corpus, tmp_path, ignore_progress)


def test_inexact_run_stays_inexact(
    interrupted: tuple[Any, Path], corpus: PreparedCorpus, tmp_path: Path
) -> None:
    (spec, objective), _ = interrupted
    other = dataclasses.replace(spec, torch_version="9.9")
    with pytest.raises(StoppedError):
        execute(
            other, objective, corpus, tmp_path, ignore_progress, stop_after(2), allow_inexact=True
        )
    folder = execute(spec, objective, corpus, tmp_path, ignore_progress, allow_inexact=True)
    assert json.loads((folder / "run.json").read_text())["is_inexact"] is True


def test_undeclared_second_pass_is_refused(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(Broken, how="twice")
    with pytest.raises(BenchError, match="broke its contract"):
        execute(spec, objective, corpus, tmp_path, ignore_progress)


def test_out_of_memory_halves_the_micro_batch(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
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


@settings
class BrokenFours(Broken):
    """Four rows must be in one micro-batch."""

    name: ClassVar[str] = "broken_fours"

    @property
    def rows_together(self) -> int:
        return 4


def test_out_of_memory_never_cuts_a_group_of_rows(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(BrokenFours, how="out of memory"), corpus, "cpu")
    with pytest.raises(torch.OutOfMemoryError):  # 2 rows fit, and a group has 4
        run.step()
    assert run.gradient_accumulation_steps == 2


@pytest.mark.slow
def test_steps_without_predictions_are_counted_and_do_not_divide_by_zero(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec(rate=0.0)
    folder = execute(spec, objective, corpus, tmp_path / "a", ignore_progress)
    spent = json.loads((folder / "run.json").read_text())["spent"]
    assert spent["empty_steps"] == spent["steps"] == 16
    spec, objective = make_spec(rate=0.0, budget="100pred")
    with pytest.raises(BenchError, match="predicted nothing in 100 steps"):
        execute(spec, objective, corpus, tmp_path / "b", ignore_progress)


def test_learning_rate_schedule_warms_up_and_decays(make_spec: MakeSpec) -> None:
    training = make_spec()[0].training
    progress = (0.0, 0.025, 0.05, 0.6, 0.8, 1.0)
    rates = [learning_rate_schedule(training, share) / 4e-3 for share in progress]
    assert rates == pytest.approx([0.002, 0.502, 1.0, 1.0, 0.5, 0.0])


def test_curve_has_the_loss_at_the_customary_rate_too(
    make_spec: MakeSpec, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec(rate=0.4), corpus, "cpu")
    run._validate()
    assert run.curve[0]["validation_loss_at_15"] > 0
    assert isinstance(run.objective, MaskedObjective)


def test_diverged_is_not_a_user_error() -> None:
    assert not issubclass(Diverged, BenchError)


def test_dropout_is_resumed_exactly_and_leaves_validation_alone(
    make_spec: MakeSpec, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    spec, objective = make_spec("token")
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, dropout=0.2))
    whole = execute(spec, objective, corpus, tmp_path / "whole", ignore_progress)
    with pytest.raises(StoppedError):
        execute(spec, objective, corpus, tmp_path / "part", ignore_progress, stop_after(5))
    resumed = execute(spec, objective, corpus, tmp_path / "part", ignore_progress)
    for file in ("encoder.safetensors", "head.safetensors"):
        assert file_sha256(whole / file) == file_sha256(resumed / file)
    plain = execute(*make_spec("token"), corpus, tmp_path / "plain", ignore_progress)
    first, other = (
        pq.read_table(run / "curve.parquet").column("validation_loss").to_pylist()
        for run in (whole, plain)
    )
    assert first[0] == other[0]  # before the first step: dropout is off in validation
    assert first[-1] != other[-1]
