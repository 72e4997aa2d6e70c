"""The commands that describe an experiment: `run` does it, `plan` shows what it would cost."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from bench.cli.app import app
from bench.cli.experiment_options import (
    AllowInexact,
    BudgetText,
    CorpusNames,
    Curve,
    DataFolder,
    Detect,
    Device,
    Documents,
    Encoders,
    Engine,
    Forget,
    GpusPerRun,
    Init,
    LabelFiles,
    Ladder,
    Limit,
    Objectives,
    Observe,
    Overrides,
    ProbeNames,
    RaceFlag,
    Seeds,
    Shard,
    SizeName,
    Tasks,
    TextColumn,
    Tokenizer,
    Tune,
    TuneOn,
    Words,
)
from bench.cli.output import name_damaged, print_comparison
from bench.cli.record_options import RESULTS, Json, Out
from bench.errors import BenchError
from bench.machine import stoppable

STOPPED = "stopped; nothing is lost, and the same command goes on from here"


def experiment_options(
    objectives: Objectives,
    corpus: CorpusNames = ["micro"],  # noqa: B006 (typer copies it)
    tasks: Tasks = None,
    task: LabelFiles = None,
    size: SizeName = "tiny",
    budget: BudgetText = None,
    curve: Curve = 1,
    seeds: Seeds = None,
    settings: Overrides = None,
    data: DataFolder = None,
    tokenizer: Tokenizer = None,
    text_column: TextColumn = "text",
    words: Words = "auto",
    documents: Documents = "auto",
    device: Device = "auto",
    limit: Limit = None,
    probe: ProbeNames = "linear",
    tune: Tune = None,
    tune_on: TuneOn = "loss",
    ladder: Ladder = None,
    init: Init = None,
    encoder: Encoders = None,
    forget: Forget = None,
    gpus_per_run: GpusPerRun = 1,
    shard: Shard = False,
) -> dict[str, Any]:
    """The options that `run` and `plan` share, as `resolved` takes them.

    Both must take the same options, or a plan would describe another experiment.
    """
    return locals()


def resolved(objectives: Any, **options: Any) -> Any:
    """The experiment of some options; None is an option that was not given."""
    from bench.experiment import resolve
    from bench.registry import Registry

    known = {name: value for name, value in options.items() if value is not None}
    return resolve(objectives, Registry(), **known)


def takes_experiment(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `experiment_options` in the place of its first parameter.

    typer reads the options of a command from its signature, so the two signatures are joined.
    """
    shared = inspect.signature(experiment_options, eval_str=True).parameters
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def with_options(**values: Any) -> None:
        options = experiment_options(**{name: values.pop(name) for name in shared})
        command(resolved(**options, records=values["out"]), **values)

    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    signature = inspect.Signature([*shared.values(), *own])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    return with_options


@app.command()
@stoppable(STOPPED)
@takes_experiment
def run(
    experiment: Any,
    out: Out = RESULTS,
    as_json: Json = False,
    allow_inexact: AllowInexact = False,
    race: RaceFlag = False,
    detect: Detect = None,
    observe: Observe = None,
    engine: Engine = "local",
) -> None:
    """Pretrain with each objective, probe, and compare.

    All runs have one budget. The untrained encoder is always compared too. Finished work is found,
    and unfinished work is resumed.
    """
    from bench.engines.running import run_experiment

    result = run_experiment(
        experiment,
        out,
        allow_inexact=allow_inexact,
        race=race,
        detect=detect,
        observe=observe or (),
        engine=engine,
    )
    show_result(result, out, as_json)


def show_result(result: Any, out: Path, as_json: bool) -> None:
    """Print the comparison of the runs, or how to get it; end with the result's exit code."""
    from bench import api
    from bench.engines.progress import log
    from bench.records import remote

    shown = shlex.quote(remote.shown(out))
    if not result.is_done:
        log(
            f"{len(result.states)} jobs, in any order, on any machine with this BENCH_CACHE and "
            f"{shown}; `bench status --out {shown}` shows them, and `bench compare --out {shown}` "
            "compares their runs"
        )
    if result.run_ids:
        baseline = api.experiment_baseline(result.run_ids)
        try:
            comparison = api.compare(result.run_ids, out=out, baseline=baseline, tasks=result.tasks)
        except BenchError as error:
            if not result.exit_code:
                raise
            log(str(error))  # stopped or failed before the first score: that is what the code says
            raise typer.Exit(result.exit_code) from None
        print_comparison(comparison, "json" if as_json else "table")
        again = f"bench compare --out {shown}"
        log(f"records: {shown}/runs; compare them again at any time: {again}")
        damaged = name_damaged(comparison)
        raise typer.Exit(result.exit_code or damaged)
    raise typer.Exit(result.exit_code)


@app.command()
@takes_experiment
def plan(
    experiment: Any,
    out: Out = RESULTS,
    race: RaceFlag = False,
    detect: Detect = None,
    observe: Observe = None,
    allow_inexact: AllowInexact = False,
    engine: Engine = "local",
    as_json: Json = False,
) -> None:
    """Show what `run` would do and cost, without doing it.

    With --race it is the cost of the full grid, which a race never exceeds. The seconds are those
    of this machine, with every engine.
    """
    from bench.engines.observers.watching import observer_classes
    from bench.engines.running import checked_engine
    from bench.plan import make_plan, render

    observer_classes(observe or ())  # as `run`, it refuses what cannot be done
    checked_engine(experiment, engine, race)
    made = make_plan(experiment, out, detect)
    typer.echo(json.dumps(made.to_json(), indent=1) if as_json else render(made))
