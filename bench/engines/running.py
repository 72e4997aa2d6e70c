"""A whole experiment: prepare the corpus, tune, run, or race."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.engines import read_engine
from bench.engines.execution import RunResult, execute, prepare, watcher
from bench.engines.observers.watching import observing
from bench.engines.progress import log, log_corpus, log_stages
from bench.engines.racing import check_race, run_race
from bench.engines.tuning import tune
from bench.errors import BenchError, FailedError, StoppedError
from bench.experiment.options import check_difference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.engines import Engine, Watcher
    from bench.engines.observers.watching import ObserverLike
    from bench.experiment import Experiment


def run_experiment(
    experiment: Experiment,
    out: Path,
    progress: bool = True,
    allow_inexact: bool = False,
    race: bool = False,
    detect: float | None = None,
    observe: ObserverLike | Iterable[ObserverLike] = (),
    engine: str = "local",
) -> RunResult:
    """Prepare the corpus of an experiment, tune where asked, and do all its runs.

    Args:
        experiment: From `bench.experiment.resolve`.
        out: Folder of the records.
        progress: Show progress on standard error, or in a notebook.
        allow_inexact: Resume although the thread count or the version of torch changed.
        race: Drop objectives that are significantly below, and spend their seeds on the others.
        detect: The difference in points at which a race may stop.
        observe: Names or classes of observers of the runs; trials of tuning are not observed.
        engine: Where the runs are done: `local`, `ray`, `slurm`, `print`, with options after `:`.

    Raises:
        BenchError: An observer or the engine is unknown or lacks a package, the corpus or the
            examples of a task cannot be used, or every trial of an objective diverged.
    """
    chosen = checked_engine(experiment, engine, race)
    if detect is not None and not race:
        raise BenchError(
            "--detect is the difference at which a race may end, so it needs --race; bench plan "
            "--detect says how many seeds show a difference"
        )
    if detect is not None:
        check_difference(detect)
    with observing(observe, out) as watch:
        result = _run_one(experiment, out, progress, allow_inexact, race, detect, watch, chosen)
        for rung in experiment.rungs:
            if result.exit_code in (0, 4):
                if progress:
                    log(f"ladder: {rung.size.name}")
                further = _run_one(rung, out, progress, allow_inexact, race, detect, watch, chosen)
                result = RunResult([*result.states, *further.states], result.tasks)
        return result


def checked_engine(experiment: Experiment, engine: str, race: bool) -> Engine:
    """The engine of a command, if it can do what the command asks for; nothing is done yet.

    Raises:
        BenchError: It is unknown or lacks a package, a race or tuning does not go with it, a race
            has nothing to choose from, or a run has more processes than rows in a batch.
    """
    chosen = read_engine(engine)
    if not chosen.waits and (race or experiment.tuning is not None):
        raise BenchError(
            f"--engine {engine} does not wait for results, which --race and --tune need between "
            "their steps; use local, ray or slurm"
        )
    if race:
        check_race(experiment)
    rows = experiment.training.batch_tokens // experiment.shape.max_length
    for name, objective in experiment.objectives.items():
        parts = -(-rows // objective.rows_together)
        if experiment.processes > parts:
            raise BenchError(
                f"--gpus-per-run {experiment.processes}: a batch of {name} has {parts} parts to "
                "share; lower it, or raise --set training.batch_tokens="
            )
    return chosen


def _run_one(
    experiment: Experiment,
    out: Path,
    progress: bool,
    allow_inexact: bool,
    race: bool,
    detect: float | None,
    observe: Watcher,
    engine: Engine,
) -> RunResult:
    prepared = prepare(experiment, log_stages() if progress else None)
    if progress:
        log_corpus(experiment, prepared)
    for caution in experiment.cautions if progress else ():
        log(caution)
    for name, reason in experiment.left_out.items() if progress else ():
        log(f"left out of the suite: {reason if reason.startswith(name) else f'{name}: {reason}'}")
    if experiment.tuning is not None:
        experiment = tune(experiment, prepared, out, progress, engine)
    if race:
        return run_race(experiment, prepared, out, detect, progress, allow_inexact, observe, engine)
    return execute(experiment, prepared, out, watcher(progress, observe), allow_inexact, engine)


def unfinished_jobs(result: RunResult) -> str | None:
    """The jobs that did not finish, with the reasons; None if all did.

    Raises:
        FailedError: No run finished.
        StoppedError: The runs were stopped.
        KeyboardInterrupt: The user stopped them.
    """
    if not result.run_ids:
        if 130 in (state.exit_code for state in result.states):
            raise KeyboardInterrupt
        reasons = sorted({state.message for state in result.states if state.message})
        if any(state.status == "stopped" for state in result.states):
            raise StoppedError("the runs were stopped; the same call resumes them")
        raise FailedError(f"no run finished: {'; '.join(reasons)}")
    failed = [state for state in result.states if state.status != "finished"]
    reasons = [f"{s.job.title} {s.status}: {s.message or 'no reason known'}" for s in failed]
    count = f"{len(failed)} of {len(result.states)} jobs did not finish"
    return f"{count}: {'; '.join(reasons)}" if failed else None
