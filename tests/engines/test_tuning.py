"""Tuning: what a trial is worth, which trial is chosen, and where the trials lie."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.corpus.microworld import Micro
from bench.corpus.preparation import PreparedCorpus
from bench.engines import tuning
from bench.engines.jobs import JobState
from bench.engines.tuning import TRIALS, _chosen, _dev_loss, _loss
from bench.errors import BenchError, RefusedError, StoppedError
from bench.experiment import Experiment, resolve
from bench.experiment.tuning import Choice
from bench.records.store import RunRecord, read_run, read_runs
from bench.reporting.comparison import Comparison
from tests.conftest import REGISTRY
from tests.records.test_store import HASH, make_run, make_score

RATES = (1e-3, 2e-3, 4e-3)


def experiment(on: str = "loss") -> Experiment:
    rates = f"training.learning_rate={','.join(map(str, RATES))}"
    return resolve("token", REGISTRY, tasks="none", device="cpu", tune=rates, tune_on=on)


def trial(out: Path, rate: float = 2e-3, **keys: Any) -> Path:
    return make_run(out, learning_rate=rate, tokens=2_000, **keys)


def chosen(folders: list[Path], on: str = "loss") -> Choice:
    tuned = experiment(on)
    trials = [read_run(folder) for folder in folders]
    return _chosen(tuned, tuned.objectives["token"], trials, {HASH})


def dev_loss(folder: Path, limit: int | None = None) -> float:
    return _dev_loss(read_run(folder).scores, limit, {HASH})


@pytest.mark.parametrize(
    ("record", "loss"),
    [
        ({"status": "finished", "validation_loss": 4.5}, 4.5),
        ({"status": "finished", "validation_loss": None}, math.inf),
        ({"status": "diverged", "validation_loss": 4.5}, math.inf),
    ],
)
def test_the_loss_of_a_trial(record: dict[str, Any], loss: float) -> None:
    assert _loss(record) == loss


def test_the_dev_loss_is_one_less_the_mean_dev_score(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    make_score(folder, "one", details={"dev": 0.5})
    make_score(folder, "two", details={"dev": 0.75})
    assert dev_loss(folder) == 1 - 0.625


def test_the_dev_loss_counts_fitted_native_scores_alone(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    make_score(folder, "one", details={"dev": 0.5})
    make_score(folder, "one", details={"dev": 0.9}, attention="bidirectional")
    make_score(folder, "two", outcomes=None, details={"reason": "no head", "dev": 0.9})
    make_score(folder, "three")  # nothing is fitted, so there is no dev part
    assert dev_loss(folder) == 0.5


def test_the_dev_loss_counts_scores_with_the_limit_of_the_command(tmp_path: Path) -> None:
    """Else what an earlier command left would decide, and a new trial would lack it."""
    folder = trial(tmp_path)
    make_score(folder, "one", details={"dev": 0.5}, probe_settings={"limit": 60})
    make_score(folder, "one", details={"dev": 0.75})
    assert dev_loss(folder, 60) == 0.5
    assert dev_loss(folder) == 0.25


def test_the_dev_loss_counts_scores_of_the_code_of_today(tmp_path: Path) -> None:
    """A raised protocol leaves the id of a trial, so its old scores lie beside the new ones."""
    folder = trial(tmp_path)
    make_score(folder, "one", details={"dev": 0.25})
    make_score(folder, "one", details={"dev": 0.75}, task_code_sha256="cd" * 32)
    assert dev_loss(folder) == 0.75


def test_a_changed_score_of_a_trial_is_refused(tmp_path: Path) -> None:
    folder = trial(tmp_path)
    path = make_score(folder, "one", details={"dev": 0.25})
    path.write_text(path.read_text().replace("0.25", "0.95"))
    with pytest.raises(RefusedError, match="was changed after it was written"):
        dev_loss(folder)


def test_a_trial_without_scores_has_an_infinite_dev_loss(tmp_path: Path) -> None:
    assert dev_loss(trial(tmp_path, status="diverged")) == math.inf


def test_the_trial_with_the_lowest_loss_is_chosen(tmp_path: Path) -> None:
    losses = (5.0, 4.0, 4.5)
    folders = [
        trial(tmp_path, rate, validation_loss=loss)
        for rate, loss in zip(RATES, losses, strict=True)
    ]
    choice = chosen(folders)
    assert choice.chosen == "training.learning_rate=0.002"
    assert choice.training.learning_rate == 2e-3
    assert tuple(loss for _, loss in choice.trials) == losses


def test_the_cost_of_a_choice_is_that_of_all_trials(tmp_path: Path) -> None:
    choice = chosen([trial(tmp_path, rate, validation_loss=4.0) for rate in RATES])
    assert choice.tokens == 3 * 2_000
    assert choice.seconds == pytest.approx(3 * 0.1)


def test_a_diverged_trial_is_not_chosen_on_the_loss(tmp_path: Path) -> None:
    """Not even with the lowest loss that was measured before it diverged."""
    folders = [trial(tmp_path, rate, validation_loss=4.0 + rate) for rate in RATES[1:]]
    diverged = trial(tmp_path, RATES[0], status="diverged", validation_loss=0.1)
    assert chosen([diverged, *folders]).chosen == "training.learning_rate=0.002"


def test_a_diverged_trial_is_not_chosen_on_the_dev_parts(tmp_path: Path) -> None:
    diverged = trial(tmp_path, RATES[0], status="diverged")
    folders = [trial(tmp_path, rate) for rate in RATES[1:]]
    for folder, dev in zip(folders, (0.1, 0.2), strict=True):
        make_score(folder, "one", details={"dev": dev})
    choice = chosen([diverged, *folders], "self")
    assert choice.chosen == "training.learning_rate=0.004"
    assert [loss for _, loss in choice.trials] == [math.inf, 0.9, 0.8]


def test_on_the_dev_parts_the_loss_does_not_count(tmp_path: Path) -> None:
    folders = [trial(tmp_path, rate, validation_loss=rate) for rate in RATES]
    for folder, dev in zip(folders, (0.3, 0.2, 0.4), strict=True):
        make_score(folder, "one", details={"dev": dev})
    assert chosen(folders, "self").chosen == "training.learning_rate=0.004"
    assert chosen(folders, "loss").chosen == "training.learning_rate=0.001"


def test_if_every_trial_diverged_nothing_is_chosen(tmp_path: Path) -> None:
    folders = [trial(tmp_path, rate, status="diverged", validation_loss=4.0) for rate in RATES]
    with pytest.raises(BenchError, match="every trial of token diverged"):
        chosen(folders)


def test_a_task_that_the_corpus_is_too_small_for_does_not_judge(
    corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `--tasks self`: it is left out, instead of failing every trial after its training."""
    jobs: list[Any] = []

    def run_all(started: list[Any], *_: Any) -> list[JobState]:
        jobs.extend(started)
        return [JobState(job, status="stopped") for job in started]

    tasks = {name: REGISTRY.get("task", name) for name in ("self_bigram_shift", "word_class")}
    monkeypatch.setattr(tuning, "run_all", run_all)
    monkeypatch.setattr(tuning, "_self_tasks", lambda: tasks)
    with pytest.raises(StoppedError):
        tuning.tune(experiment("self"), corpus, tmp_path, progress=False)
    assert [job.evaluation.tasks for job in jobs] == [("word_class",)] * len(RATES)


def run_tuned(out: Path) -> Comparison:
    return bench.run(
        "token,span", corpus=Micro(num_words=20_000), budget="50k", seeds=1, tasks="word_class",
        limit=60, settings={"encoder": {"hidden_size": 32, "num_layers": 2}}, device="cpu",
        tune="training.learning_rate=1e-4,2e-3", out=out, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    out = tmp_path_factory.mktemp("tuned")
    return out, run_tuned(out)


def trained(out: Path) -> list[RunRecord]:
    return [run for run in read_runs(out) if run.data["objective"] != "untrained"]


@pytest.mark.slow
def test_the_trials_lie_beside_the_runs_at_a_tenth_of_the_budget(
    tuned: tuple[Path, Comparison],
) -> None:
    out, _ = tuned
    trials = [
        (run.data["objective"], run.data["spec"]["training"]["learning_rate"])
        for run in trained(out / TRIALS)
    ]
    assert sorted(trials) == [("span", 1e-4), ("span", 2e-3), ("token", 1e-4), ("token", 2e-3)]
    assert {run.data["budget"]["amount"] for run in read_runs(out / TRIALS)} == {5_000}


@pytest.mark.slow
def test_the_trials_are_not_in_the_table(tuned: tuple[Path, Comparison]) -> None:
    out, compared = tuned
    (table,) = compared.tables
    shown = {run.data["id"] for row in table.rows for run in row.runs}
    assert shown == {run.data["id"] for run in read_runs(out)}
    assert {run.data["budget"]["amount"] for row in table.rows for run in row.runs} == {50_000}
    assert not shown & {run.data["id"] for run in read_runs(out / TRIALS)}


@pytest.mark.slow
def test_the_record_of_a_run_has_the_choice_with_the_lowest_loss(
    tuned: tuple[Path, Comparison],
) -> None:
    out, _ = tuned
    for run in trained(out):
        trials = [one for one in trained(out / TRIALS)
                  if one.data["objective"] == run.data["objective"]]  # fmt: skip
        best = min(trials, key=lambda one: one.data["validation_loss"])
        rate = best.data["spec"]["training"]["learning_rate"]
        record = run.data["tuning"]
        assert run.data["spec"]["training"]["learning_rate"] == rate
        assert record["chosen"] == f"training.learning_rate={rate}"
        assert record["settings"] == ["training.learning_rate=0.0001,0.002"]
        assert dict(record["trials"])[record["chosen"]] == best.data["validation_loss"]
        assert record["tokens"] == sum(one.data["spent"]["tokens"] for one in trials)


def times(out: Path) -> dict[Path, int]:
    """When each record was written; the states of jobs are new in every command."""
    files = (path for path in out.rglob("*.json") if path.parent.name != "jobs")
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_the_same_command_again_runs_nothing_new(tuned: tuple[Path, Comparison]) -> None:
    out, compared = tuned
    before = times(out)
    again = run_tuned(out)
    assert times(out) == before
    assert json.loads(again.to_json()) == json.loads(compared.to_json())
