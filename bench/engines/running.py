"""A whole experiment on this machine: prepare the corpus, tune, run, or race."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.engines.execution import RunResult, execute, prepare, watcher
from bench.engines.progress import log, log_corpus, log_stages
from bench.engines.racing import run_race
from bench.engines.tuning import tune

if TYPE_CHECKING:
    from pathlib import Path

    from bench.experiment import Experiment


def run_experiment(
    experiment: Experiment,
    out: Path,
    progress: bool = True,
    allow_inexact: bool = False,
    race: bool = False,
    detect: float | None = None,
) -> RunResult:
    """Prepare the corpus of an experiment, tune where asked, and do all its runs on this machine.

    Args:
        experiment: From `bench.experiment.resolve`.
        out: Folder of the records.
        progress: Show progress on standard error, or in a notebook.
        allow_inexact: Resume although the thread count or the version of torch changed.
        race: Drop objectives that are significantly below, and spend their seeds on the others.
        detect: The difference in points at which a race may stop.

    Raises:
        BenchError: The corpus or the examples of a task cannot be used, or every trial of an
            objective diverged.
    """
    result = _run_one(experiment, out, progress, allow_inexact, race, detect)
    for rung in experiment.rungs:
        if result.exit_code in (0, 4):
            if progress:
                log(f"ladder: {rung.size.name}")
            further = _run_one(rung, out, progress, allow_inexact, race, detect)
            result = RunResult([*result.states, *further.states], result.tasks)
    return result


def _run_one(
    experiment: Experiment,
    out: Path,
    progress: bool,
    allow_inexact: bool,
    race: bool,
    detect: float | None,
) -> RunResult:
    prepared = prepare(experiment, log_stages() if progress else None)
    if progress:
        log_corpus(experiment, prepared)
    for name, reason in experiment.left_out.items() if progress else ():
        log(f"left out of the suite: {reason if reason.startswith(name) else f'{name}: {reason}'}")
    if experiment.tuning is not None:
        experiment = tune(experiment, prepared, out, progress)
    if race:
        return run_race(experiment, prepared, out, detect, progress, allow_inexact)
    return execute(experiment, prepared, out, watcher(progress), allow_inexact)
