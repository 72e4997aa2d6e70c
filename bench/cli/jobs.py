"""The commands of many machines: `grid`, `prepare`, `work` and `status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.app import app
from bench.cli.experiment_options import Engine
from bench.cli.experiments import STOPPED, show_result, takes_experiment
from bench.cli.record_options import RESULTS, Json, Out
from bench.machine import stoppable

GridFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.toml",
        help="Options of `run` by name, where sizes and budgets may be lists.",
    ),
]
JobFile = Annotated[Path, typer.Argument(metavar="JOB.json", help="A file of OUT/jobs/.")]


@app.command()
@stoppable(STOPPED)
def grid(
    file: GridFile, out: Out = RESULTS, engine: Engine = "local", as_json: Json = False
) -> None:
    """Run sizes x budgets x objectives x seeds of a file, all at once.

    FILE.toml has the options of `run`: objective = ["token", "span"], size = ["tiny", "mini"],
    budget = ["2M", "4M"], seeds = "0-2".
    """
    from bench.engines.grid import read_grid, run_grid

    show_result(run_grid(read_grid(file, out), out, engine), out, as_json)


@app.command()
@takes_experiment
def prepare(experiment: Any, out: Out = RESULTS) -> None:
    """Build the corpus of `run` in the cache of this machine, and check its tasks.

    Use it before jobs start on machines that do not share BENCH_CACHE, once on each.
    """
    from bench.engines.execution import check_tasks, prepare_all
    from bench.engines.progress import log, log_corpus, log_stages

    for one, prepared in prepare_all([experiment, *experiment.rungs], log_stages()):
        log_corpus(one, prepared)
        check_tasks(one, prepared)
        typer.echo(prepared.folder)
    log(f"ready for the jobs of {out}/jobs")


@app.command()
def work(file: JobFile) -> None:
    """Do one job that `run --engine print`, `ray` or `slurm` wrote.

    Exit codes: 0 done; 75 stopped, the same command resumes; 1, 2 and 3 as for `run`.
    """
    from bench.engines.job_files import processes_of
    from bench.engines.progress import LogLines
    from bench.engines.worker.rank_launcher import is_rank, launch
    from bench.engines.worker.worker import Stop
    from bench.engines.worker.worker import work as do_job

    count = processes_of(file)
    code = launch(count) if count > 1 and not is_rank() else do_job(file, LogLines(), Stop())
    raise typer.Exit(code)


@app.command()
def status(out: Out = RESULTS, as_json: Json = False) -> None:
    """Show the jobs of a folder of records, whatever engine runs them."""
    from bench.engines.job_files import all_progress
    from bench.engines.status import render, to_json

    jobs = all_progress(out)
    typer.echo(json.dumps(to_json(jobs), indent=1) if as_json else render(jobs, out))
