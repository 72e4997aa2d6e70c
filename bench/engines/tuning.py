"""The trials of equal tuning: short runs of every objective with every value, then the choice.

Trials are runs like any other, in a folder of their own beside the records, so that they are found
again by the same command and never stand in a table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.engines.execution import check_tasks, evaluation_of, run_all, watcher, without_tasks
from bench.engines.jobs import Job, RunJob
from bench.engines.progress import log
from bench.errors import FailedError, StoppedError
from bench.experiment.tuning import TRIAL_SHARE, Choice, applied, choose
from bench.records.scores import ScoreRecord
from bench.records.store import RunRecord, read_run

if TYPE_CHECKING:
    from pathlib import Path

    from bench.corpus.preparation import PreparedCorpus
    from bench.engines import Engine
    from bench.experiment import Experiment
    from bench.pretraining.objective import Objective

TRIALS = "trials"
"""Folder of the trials, inside the folder of the records."""


def tune(
    experiment: Experiment,
    prepared: PreparedCorpus,
    out: Path,
    progress: bool = True,
    engine: Engine | None = None,
) -> Experiment:
    """Run the trials, and return the experiment with what they chose.

    Raises:
        BenchError: Every trial of an objective diverged, or no self-supervised task can be made.
        FailedError: A trial crashed.
        StoppedError: The trials were stopped; the same command resumes them.
    """
    from bench.records.score_file import task_code

    tuning = experiment.tuning
    assert tuning is not None  # the caller asked
    tasks = _self_tasks() if tuning.on == "self" else {}
    budget = experiment.budget
    short = dataclasses.replace(budget, amount=budget.amount * TRIAL_SHARE)
    trained = [objective for objective in experiment.objectives.values() if objective.trains]
    jobs: list[Job] = []
    trials: dict[str, list[str]] = {}
    judged = dataclasses.replace(
        experiment, tasks=tasks, optional=frozenset(tasks), probes=("linear",), probe_settings=({},)
    )
    judged = without_tasks(judged, check_tasks(judged, prepared))
    evaluation = evaluation_of(judged, prepared, out / TRIALS)
    for objective in trained:
        for combination in tuning.combinations(objective):
            variant, training = applied(combination, objective, experiment.training)
            trial = dataclasses.replace(
                experiment,
                objectives={variant.display_name: variant},
                training=training,
                budgets=[short],
                seeds=experiment.seeds[:1],
                tuning=None,
            )
            (spec,) = trial.specs(prepared)
            trials.setdefault(objective.display_name, []).append(spec.id)
            jobs.append(RunJob(spec, evaluation))
    if progress:
        log(f"tuning: {len(jobs)} trials of {short} each")
    different = list({job.id: job for job in jobs}.values())
    states = run_all(different, watcher(progress), engine)
    if any(state.status == "stopped" for state in states):
        raise StoppedError("the trials were stopped; the same command resumes them")
    failed = [state for state in states if state.run_id is None]
    if failed:
        raise FailedError(f"a trial failed: {failed[0].job.title}: {failed[0].message}")
    codes = {task_code(task) for task in judged.tasks.values()}
    choices = [
        _chosen(
            experiment,
            objective,
            [read_run(out / TRIALS / "runs" / i) for i in trials[name]],
            codes,
        )
        for objective in trained
        for name in [objective.display_name]
    ]
    if progress:
        for choice in choices:
            log(f"  {choice.objective.name}: {choice.chosen}")
    return experiment.tuned(choices)


def _chosen(
    experiment: Experiment, objective: Objective, trials: list[RunRecord], codes: set[str]
) -> Choice:
    assert experiment.tuning is not None  # as above
    is_loss = experiment.tuning.on == "loss"
    values = [
        _loss(trial.data) if is_loss else _dev_loss(trial.scores, experiment.data.limit, codes)
        for trial in trials
    ]
    spent = [trial.data["spent"] for trial in trials]
    return choose(
        experiment.tuning,
        objective,
        experiment.training,
        values,
        sum(one["tokens"] for one in spent),
        sum(one["seconds"] for one in spent),
    )


def _loss(record: dict[str, Any]) -> float:
    loss = record["validation_loss"]
    return loss if record["status"] == "finished" and loss is not None else math.inf


def _dev_loss(scores: Sequence[ScoreRecord], limit: int | None, codes: set[str]) -> float:
    """1 - the mean score on the dev parts of the self-supervised tasks.

    Scores with another `--limit`, or of other code, are of an earlier command: they are not on one
    scale with those of today, and other trials may lack them.
    """
    devs = [
        score.data["details"].get("dev")
        for score in scores
        if score.data["status"] == "ok"
        and score.data["attention"] == "native"
        and score.data["probe_settings"].get("limit") == limit
        and score.data["task_code_sha256"] in codes
    ]
    known = [dev for dev in devs if dev is not None]
    return 1.0 - sum(known) / len(known) if known else math.inf


def _self_tasks() -> dict[str, Any]:
    from bench.registry import Registry

    tasks = Registry().of("task")
    return {name: task for name, task in tasks.items() if "self" in getattr(task, "suites", ())}
