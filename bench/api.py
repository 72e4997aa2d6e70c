"""The two things `bench` does, callable from Python: run a comparison, and read one off records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, FailedError
from bench.experiment import UNTRAINED, Experiment, Request, raise_for, resolve
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.engines.local import Job, Watcher
    from bench.probing.reader.filling import Filled
    from bench.reporting.comparison import Comparison
    from bench.reporting.table import Table

DEFAULT_OUT = Path("results")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run of jobs came to."""

    jobs: list[Job]
    tasks: list[str]

    @property
    def exit_code(self) -> int:
        """0 all well; 4 some failed; what all the asked runs failed with; a stop wins."""
        stopped = [job.exit_code for job in self.jobs if job.status == "stopped"]
        bad = [job for job in self.jobs if job.status != "finished"]
        if stopped or not bad:
            return stopped[0] if stopped else 0
        runs = [job for job in self.jobs if job.payload["kind"] == "run"]
        asked = [j for j in runs if j.payload["spec"]["objective"] != UNTRAINED] or runs
        if any(job.status == "finished" for job in asked):
            return 4
        codes = {job.exit_code or 4 for job in asked}
        return codes.pop() if len(codes) == 1 else 1

    @property
    def finished(self) -> list[str]:
        """Ids of the runs that have a folder."""
        return [job.run for job in self.jobs if job.run is not None]


def run(
    objectives: str | Sequence[str],
    *,
    out: Path | str = DEFAULT_OUT,
    allow_inexact: bool = False,
    watch: Watcher = lambda job, event: None,
    **request: Any,
) -> Comparison:
    """Pretrain, probe and compare, as `bench run` does.

    Args:
        objectives: Names; the untrained control is added.
        out: Where records go.
        allow_inexact: Resume although thread count or torch version changed.
        watch: Told of every report of every worker.
        request: The fields of `bench.experiment.Request`.

    Raises:
        BenchError: Something asked for does not exist or does not fit.
        FailedError: No run finished.
    """
    names = [objectives] if isinstance(objectives, str) else objectives
    for listed in ("corpus", "task"):
        if isinstance(request.get(listed), str):
            request[listed] = [request[listed]]
    experiment = resolve(Request(names, **request), Registry())
    prepared = prepare(experiment)
    outcome = execute(experiment, prepared, Path(out), watch, allow_inexact)
    if not outcome.finished:
        reasons = {job.message for job in outcome.jobs if job.message}
        raise FailedError(f"no run finished: {'; '.join(sorted(reasons))}")
    return compare(outcome.finished, out=out, tasks=outcome.tasks)


def prepare(
    experiment: Experiment, on_progress: Callable[[str, int], None] | None = None
) -> PreparedCorpus:
    """Token stores of the experiment's corpus, from the cache or built into it."""
    from bench.corpus.preparation import default_cache, prepare_corpus

    return prepare_corpus(
        experiment.corpus,
        experiment.tokenizer,
        experiment.shape.vocab_size,
        default_cache(),
        on_progress,
    )


def execute(
    experiment: Experiment,
    prepared: PreparedCorpus,
    out: Path,
    watch: Watcher,
    allow_inexact: bool = False,
) -> Outcome:
    """Do all the runs of an experiment on this machine, finding what is done already."""
    from bench.engines.local import Job, run_jobs
    from bench.probing.data.user_tasks import reference_of

    try:
        (out / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"--out {out}: records cannot be written there ({error.strerror}); name another folder"
        ) from None
    check_tasks(experiment, prepared)
    # Longest first: what is short fills the end, when cores fall idle.
    trained = {label for label, objective in experiment.objectives.items() if objective.trains}
    specs = sorted(
        experiment.specs(prepared),
        key=lambda spec: -spec.budget.amount * (spec.display_name in trained),
    )
    shared = {
        "out": str(out.resolve()),
        "tasks": [reference_of(task) for task in experiment.tasks.values()],
        "probes": experiment.probes,
        "prepared": str(prepared.folder),
        "data": {
            "folder": experiment.data.folder and str(experiment.data.folder.resolve()),
            "limit": experiment.data.limit,
            "size": experiment.data.size,
        },
    }
    run = {"kind": "run", "allow_inexact": allow_inexact}
    is_curve = len(experiment.budgets) > 1
    jobs = [
        Job(
            f"{spec.display_name} s{spec.seed}" + (f", {spec.budget}" if is_curve else ""),
            {**shared, **run, "spec": spec.to_json()},
        )
        for spec in specs
    ]
    if experiment.tasks:
        jobs.append(Job("baselines", {**shared, "kind": "baselines"}))
    run_jobs(jobs, experiment.workers, experiment.training.threads, watch)
    return Outcome(jobs, list(experiment.tasks))


def check_tasks(experiment: Experiment, prepared: PreparedCorpus) -> None:
    """Load and check every task's examples, before an encoder is trained for them.

    Raises:
        BenchError: What keeps tasks from being asked, all of it at once.
    """
    data = dataclasses.replace(experiment.data, prepared=prepared.folder)
    unusable: dict[str, BenchError] = {}
    for name, task in experiment.tasks.items():
        asked = task()
        try:
            asked.check(asked.load(data))
        except BenchError as error:
            unusable[name] = error
    raise_for(unusable, experiment.tasks, "cannot be asked")


def compare(
    runs: Sequence[str] = (),
    *,
    out: Path | str = DEFAULT_OUT,
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    watch: Callable[[list[Table]], None] | None = None,
) -> Comparison:
    """The comparison of finished runs.

    Args:
        runs: Ids, prefixes of ids, or folders; all runs of `out` if empty.
        out: Where records are.
        baseline: The objective that differences are taken to.
        tasks: The columns, in order; all that were scored if empty.
        watch: Shown the tables before anything is read off them.

    Raises:
        BenchError: No such run.
        RefusedError: A record is damaged.
    """
    from bench._startup import paused_collection, without
    from bench.corpus.preparation import default_cache
    from bench.records.cache import read_cached_baselines, read_cached_runs
    from bench.reporting.comparison import comparison

    cache, suites = default_cache(), task_suites()
    with without("torch"), paused_collection():
        return comparison(
            read_cached_runs(Path(out), runs, cache),
            read_cached_baselines(Path(out), cache),
            baseline=baseline,
            tasks=tasks,
            suites=suites,
            watch=watch,
        )


def tasks_named(written: str) -> list[str]:
    """Tasks from names and suites by comma, each once, in the order asked.

    A name that is no suite's is taken as it stands: records may hold tasks of one's own files.
    """
    suites = task_suites()
    names = [part.strip().replace("-", "_") for part in written.split(",") if part.strip()]
    return list(dict.fromkeys(task for name in names for task in suites.get(name, [name])))


def task_suites() -> dict[str, list[str]]:
    """The tasks of each suite, of all that are installed."""
    suites: dict[str, list[str]] = {}
    for name, task in Registry().of("task").items():
        for suite in getattr(task, "suites", ()):
            suites.setdefault(suite, []).append(name)
    return suites


def fill(run: str, text: str, *, k: int = 5, out: Path | str = DEFAULT_OUT) -> Filled:
    """What a finished run would put where a text has [MASK]; a causal run continues it.

    Args:
        run: Its id, a prefix of it that no other has, or its folder.
        text: With [MASK] where a token is missing.
        k: How many tokens to name at each.
        out: Where records are.

    Raises:
        BenchError: No such run, nothing to fill in, or the run predicts no tokens.
        RefusedError: The run was changed after it was written.
    """
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import NotApplicableError
    from bench.records.run_folder import load_run
    from bench.reporting.run_summary import run_named
    from bench.settings import from_mapping

    record = run_named(Path(out), run)
    name = record.data["objective"]
    objective = from_mapping(Registry().get("objective", name), record.data["settings"], name)
    reader = RunReader(*load_run(record.folder, objective), objective.scoring, objective.attention)
    try:
        return reader.fill(text, k)
    except NotApplicableError as reason:
        raise BenchError(
            f"{record.data['id']} fills nothing in: {reason}; runs of masked and causal "
            "objectives do (bench list objectives)"
        ) from None
