"""`bench grid FILE.toml`: sizes x budgets x objectives x seeds, submitted as one batch of jobs.

    objective = ["token", "span(rate=0.15|0.3)"]
    corpus = ["my_texts/"]
    task = ["classify:reviews.csv,label=stars"]
    size = ["tiny", "mini"]
    budget = ["2M", "4M"]
    seeds = "0-2"
    set = ["training.threads=4"]

The names are the options of `bench run`. Each size with each budget is one comparison, and all
their runs go to the engine at once, so that no machine waits for the end of a comparison.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import tomllib
from pathlib import Path
from typing import Any

from bench.engines import read_engine
from bench.engines.execution import (
    RunResult,
    check_tasks,
    jobs_of,
    prepare_all,
    run_all,
    watcher,
    without_tasks,
)
from bench.engines.jobs import Job, RunJob
from bench.engines.progress import log, log_corpus, log_stages
from bench.engines.tuning import tune
from bench.errors import BenchError
from bench.experiment import Experiment, resolve
from bench.pretraining.ledger import encoder_row_flops

_RENAMED = {"objective": "objectives", "set": "settings"}
"""Options whose argument of `resolve` has another name."""
_LISTS = ("size", "budget")
_NOT_IN_A_GRID = ("records", "registry", "ladder")


def read_grid(file: Path, out: Path) -> list[Experiment]:
    """The experiments of a file, each checked.

    Raises:
        BenchError: The file cannot be read, has an unknown option, or an option does not fit.
    """
    from bench.registry import Registry

    try:
        plain = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{file} is not TOML: {error}") from None
    parameters = inspect.signature(resolve).parameters
    known = {name: name for name in parameters if name not in _NOT_IN_A_GRID}
    known = {k: v for k, v in known.items() if v not in _RENAMED.values()} | _RENAMED
    options: dict[str, Any] = {}
    for name, value in plain.items():
        argument = known.get(name.replace("-", "_"))
        if argument is None:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BenchError(
                f"{file}: no option {name!r}{hint} (known: {', '.join(sorted(known))})"
            )
        if argument in options:
            raise BenchError(f"{file}: {name} is given twice")
        # As on the command line, where 3 is the seed 3; in Python a number is a count.
        options[argument] = str(value) if argument == "seeds" and type(value) is int else value
    if "objectives" not in options:
        raise BenchError(f'{file}: no objective is named; add objective = ["token", "span"]')
    axes = [_values(file, name, options.pop(name, None)) for name in _LISTS]
    objectives, registry = options.pop("objectives"), Registry()
    experiments = []
    for cell in itertools.product(*axes):
        chosen = {name: one for name, one in zip(_LISTS, cell, strict=True) if one is not None}
        experiments.append(resolve(objectives, registry, **options, **chosen, records=out))
    return experiments


def _values(file: Path, name: str, value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    if not values or len({str(one) for one in values}) < len(values):
        raise BenchError(f"{file}: {name} needs different values, got {value!r}")
    return values


def run_grid(experiments: list[Experiment], out: Path, engine: str = "local") -> RunResult:
    """Prepare all corpora, then run all jobs at once.

    Raises:
        BenchError: As `bench.engines.running.run_experiment`.
    """
    chosen = read_engine(engine)
    jobs: dict[str, Job] = {}
    tasks: dict[str, None] = {}
    for experiment, prepared in prepare_all(experiments, log_stages()):
        log_corpus(experiment, prepared)
        if experiment.tuning is not None:
            if not chosen.waits:
                raise BenchError(f"--engine {engine} does not wait for the trials of tune")
            experiment = tune(experiment, prepared, out, True, chosen)
        experiment = without_tasks(experiment, check_tasks(experiment, prepared))
        for job in jobs_of(experiment, prepared, out):
            jobs[job.id] = job
        tasks |= dict.fromkeys(experiment.tasks)
    log(f"grid: {len(experiments)} comparisons, {len(jobs)} jobs")
    ordered = sorted(jobs.values(), key=_work, reverse=True)
    return RunResult(run_all(ordered, watcher(True), chosen), list(tasks))


def _work(job: Job) -> float:
    """About the work of a job: the longest start first, and short ones fill the end."""
    if not isinstance(job, RunJob):
        return 0.0
    return job.spec.budget.amount * encoder_row_flops(job.spec.encoder, 1)
