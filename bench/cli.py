"""The command line: flags in, exit code out. Every command is a few lines over the rooms.

Heavy packages are deferred, not avoided (see `bench.deferred`): `bench list` answers at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.deferred import defer
from bench.errors import BenchError

app = typer.Typer(
    name="bench",
    help="Which self-supervised objective should I pretrain my text encoder with?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """Spellings of a comparison."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


class Provided(StrEnum):
    """What `bench new` makes a package of."""

    OBJECTIVE = "objective"
    TASK = "task"


class Listed(StrEnum):
    """What `bench list` lists."""

    OBJECTIVES = "objectives"
    TASKS = "tasks"
    CORPORA = "corpora"
    SIZES = "sizes"


Objectives = Annotated[
    list[str],
    typer.Option("--objective", help="Objective to pretrain with; repeat it, or give `all`."),
]
Corpus = Annotated[
    list[str],
    typer.Option(help="`micro`, files or folders (.txt .md .jsonl .csv .parquet), or hf:NAME."),
]
Tasks = Annotated[
    str | None, typer.Option(help="Tasks or suites by comma; `none` only pretrains. [micro]")
]
OwnTasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Your own labels, .csv .tsv .jsonl .parquet or a folder with train and test: "
        "classify:FILE, pair:FILE, tag:FILE, similarity:FILE or qa:FILE; then ,text=COLUMN "
        ",label=COLUMN ,split=COLUMN ,group=COLUMN ,metric=NAME ,name=NAME as needed. "
        "Repeat it for more.",
    ),
]
SizeName = Annotated[str, typer.Option("--size", help="The size dial: tiny, mini, small, base.")]
BudgetText = Annotated[
    str | None,
    typer.Option("--budget", help="2M (tokens), 300kpred, 1e15flop or 60s. [of the size]"),
]
Curve = Annotated[
    int,
    typer.Option(
        help="Budgets of each objective, halved from one to the next, for score over budget: 4 "
        "adds a half, a quarter and an eighth. [1: the budget alone]",
        show_default=False,
    ),
]
Seeds = Annotated[str | None, typer.Option(help="Pretraining seeds: 0, 0-2 or 0,3. [of the size]")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="OWNER.SETTING=VALUE: span.mean_length=4, encoder.num_layers=6."),
]
Data = Annotated[
    Path | None, typer.Option(help="Folder of task data, NAME/SPLIT.parquet. [the hub]")
]
Tokenizer = Annotated[
    str | None, typer.Option(help="A tokenizer.json, or `char`. [byte-level BPE, trained]")
]
TextColumn = Annotated[str, typer.Option(help="The text's column in csv, jsonl and parquet.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Out = Annotated[Path, typer.Option(help="Folder of the records.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="At most so many examples of each split of a task.")
]
Probe = Annotated[
    str,
    typer.Option(
        help="How tasks are read, by comma: linear, mlp, knn (frozen features), finetune."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable, on standard output.")]


def _request(**given: Any) -> Any:
    from bench.experiment import Request, resolve
    from bench.registry import Registry

    given["overrides"] = given["overrides"] or ()
    return resolve(Request(**given), Registry())


@app.command()
def run(
    objectives: Objectives,
    corpus: Corpus = ["micro"],  # noqa: B006 (typer copies it)
    tasks: Tasks = None,
    task: OwnTasks = None,
    size: SizeName = "tiny",
    budget: BudgetText = None,
    curve: Curve = 1,
    seeds: Seeds = None,
    overrides: Overrides = None,
    data: Data = None,
    tokenizer: Tokenizer = None,
    text_column: TextColumn = "text",
    device: Device = "auto",
    out: Out = Path("results"),
    limit: Limit = None,
    probe: Probe = "linear",
    as_json: Json = False,
    allow_inexact: Annotated[
        bool, typer.Option(help="Resume although thread count or torch version changed.")
    ] = False,
) -> None:
    """Pretrain with each objective under one budget, probe, and compare.

    The untrained encoder is always among them. Finished work is found, unfinished work resumed.
    """
    from bench import api
    from bench.console import Board, say
    from bench.experiment import UNTRAINED

    experiment = _request(
        objectives=objectives, corpus=corpus, tasks=tasks, task=task or (), size=size,
        budget=budget, seeds=seeds, overrides=overrides, data=data, tokenizer=tokenizer,
        text_column=text_column, device=device, limit=limit, probe=probe, curve=curve,
    )  # fmt: skip
    prepared = api.prepare(experiment, _corpus_notes())
    _say_corpus(experiment, prepared)
    num_jobs = len(experiment.specs(prepared)) + bool(experiment.tasks)
    with Board(num_jobs) as board:
        outcome = api.execute(experiment, prepared, out, board, allow_inexact)
    done = outcome.finished
    if done:
        control = next((UNTRAINED for run in done if run.startswith(f"{UNTRAINED}-")), None)
        compared = api.compare(done, out=out, tasks=outcome.tasks, baseline=control)
        _print_comparison(compared, Format.JSON if as_json else Format.TABLE)
        say(f"records: {out}/runs; again at any time: bench compare --out {out}")
    raise typer.Exit(outcome.exit_code)


@app.command()
def plan(
    objectives: Objectives,
    corpus: Corpus = ["micro"],  # noqa: B006 (typer copies it)
    tasks: Tasks = None,
    task: OwnTasks = None,
    size: SizeName = "tiny",
    budget: BudgetText = None,
    curve: Curve = 1,
    seeds: Seeds = None,
    overrides: Overrides = None,
    data: Data = None,
    tokenizer: Tokenizer = None,
    text_column: TextColumn = "text",
    device: Device = "auto",
    out: Out = Path("results"),
    limit: Limit = None,
    probe: Probe = "linear",
    as_json: Json = False,
) -> None:
    """Say what `run` with the same flags would do, without doing it."""
    from bench.forecast import forecast, render

    experiment = _request(
        objectives=objectives, corpus=corpus, tasks=tasks, task=task or (), size=size,
        budget=budget, seeds=seeds, overrides=overrides, data=data, tokenizer=tokenizer,
        text_column=text_column, device=device, limit=limit, probe=probe, curve=curve,
    )  # fmt: skip
    found = forecast(experiment, out)
    typer.echo(json.dumps(found, indent=1) if as_json else render(found))


@app.command("list")
def list_(
    what: Annotated[Listed | None, typer.Argument(help="All of them if not said.")] = None,
    as_json: Json = False,
) -> None:
    """Show the objectives, tasks, corpora and sizes there are, broken plugins included."""
    from bench.catalogue import catalogue, render

    found = catalogue(None if what is None else what.value)
    typer.echo(json.dumps(found, indent=1) if as_json else render(found))


@app.command()
def describe(
    name: Annotated[
        str, typer.Argument(help="Objective, task, corpus, size, `training`, or a run.")
    ],
    out: Out = Path("results"),
    as_json: Json = False,
) -> None:
    """Show one thing with all its settings; a run with every layer of its scores."""
    from bench.catalogue import describe as find
    from bench.catalogue import render_one

    found = find(name, out)
    typer.echo(json.dumps(found, indent=1) if as_json else render_one(found))


@app.command()
def show(
    objective: Annotated[str, typer.Argument(help="The objective to look at.")],
    text: Annotated[
        str | None, typer.Argument(help="A sentence of your own. [rows of the corpus]")
    ] = None,
    corpus: Corpus = ["micro"],  # noqa: B006 (typer copies it)
    size: SizeName = "tiny",
    overrides: Overrides = None,
    tokenizer: Tokenizer = None,
    text_column: TextColumn = "text",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    progress: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the budget spent, for schedules.")
    ] = 0.0,
    rows: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Rows, or epochs of your sentence. [2 rows, 3 epochs]"),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Rows that the figures are of.")] = 512,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the figures into a .png, .svg or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what an objective does to text, token by token, and what it really does on average.

    Text above input above target; realised shares, runs and places beside the nominal ones.
    """
    from bench import api
    from bench.console import print_lines, say, width_of_stdout
    from bench.showing.look import Look, named
    from bench.showing.look import show as look_at
    from bench.showing.plain import as_json as plain
    from bench.showing.plot import check_figure, draw
    from bench.showing.text import shown_lines

    if figure is not None:
        check_figure(figure)
    experiment = _request(
        objectives=[objective], corpus=corpus, tasks="none", size=size, overrides=overrides,
        tokenizer=tokenizer, text_column=text_column, device="cpu",
    )  # fmt: skip
    looked_at = named(experiment.objectives, objective)
    prepared = api.prepare(experiment, _corpus_notes())
    look = Look(text, rows or (2 if text is None else 3), sample, seed, progress)
    shown = look_at(looked_at, prepared, experiment.shape, look)
    if figure is not None:
        draw(shown.figures, looked_at.label(), figure)
        say(f"figure: {figure}")
    if as_json:
        typer.echo(json.dumps(plain(shown), indent=1))
    else:
        print_lines(shown_lines(shown, width_of_stdout()))


@app.command()
def new(
    kind: Annotated[Provided, typer.Argument(help="What the package provides.")],
    name: Annotated[str, typer.Argument(help="Its name: my_objective.")],
    parent: Annotated[Path, typer.Option("--dir", help="Where to make its folder.")] = Path(),
) -> None:
    """Make an installable package with an objective or a task of your own to begin with.

    It works as it stands and holds its tests; README.md in it says where to go from there.
    """
    from bench.registry import Registry
    from bench.scaffold import scaffold

    folder = scaffold(kind.value, name, parent, Registry())
    steps = [f"pip install -e {folder}", f"pytest {folder}", f"bench describe {folder.name}"]
    typer.echo("\n    ".join([f"{folder} is made; next:", *steps]))


@app.command()
def fill(
    run: Annotated[str, typer.Argument(help="A run's id, a prefix of it, or its folder.")],
    text: Annotated[str, typer.Argument(help="With [MASK] where a token is missing.")],
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="Tokens shown at each.")] = 5,
    out: Out = Path("results"),
    as_json: Json = False,
) -> None:
    """Let a run fill in a text: the likeliest tokens at each [MASK], with probabilities.

    A causal run reads what stands left of the first [MASK], or the whole text, and goes on.
    """
    from bench import api

    filled = api.fill(run, text, k=k, out=out)
    if as_json:
        places = [
            [{"token": token, "probability": p} for token, p in tokens] for tokens in filled.places
        ]
        told = {"places": places, "text": filled.text, "continued": filled.is_continued}
        typer.echo(json.dumps(told, indent=1))
        return
    for number, tokens in enumerate(filled.places, 1):
        typer.echo("next" if filled.is_continued else f"[MASK] {number}")
        for token, probability in tokens:
            typer.echo(f"  {probability:7.2%}  {token!r}")
    typer.echo(filled.text)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Objective or task, or KIND:FILE as for --task.")],
    overrides: Overrides = None,
    data: Data = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Text for tasks that are made from a corpus.")
    ] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Run the conformance kit on an objective or task: does it keep its contract?

    Exit 0 if all that applies holds, 1 if something fails, 4 if something could not be tried.
    """
    from bench.testing.report import data_root, exit_code, items_named, render, report

    found = report(items_named(name, overrides or ()), data_root(data, corpus, limit))
    typer.echo(json.dumps(found, indent=1) if as_json else render(found))
    raise typer.Exit(exit_code(found))


@app.command()
def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, prefixes of them, or folders. [all]")
    ] = None,
    out: Out = Path("results"),
    baseline: Annotated[
        str | None, typer.Option(help="Objective that differences are taken to.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to write it.")] = Format.TABLE,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks or suites by comma: the columns, in order. [all]")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit 1 if this separably holds: `span < token`, `glue: span < token`, "
            "`aggregate: span < token`, `span.sst2 < 0.8`. Repeat it for more."
        ),
    ] = None,
) -> None:
    """Compare finished runs: means, intervals, paired differences, cost, controls."""
    from bench import api
    from bench.console import say

    columns = api.tasks_named(tasks) if tasks else []
    compared = api.compare(runs or (), out=out, baseline=baseline, tasks=columns)
    if not compared.tables:
        raise BenchError(f"no finished runs under {out}/runs; bench run makes them")
    if columns and not any(table.columns for table in compared.tables):
        raise BenchError(f"--tasks {tasks}: none of them was asked of these runs")
    verdicts = []
    if fail_if:
        from bench.reporting.gates import fail_if as ask

        verdicts = [ask(compared, gate) for gate in fail_if]
    _print_comparison(compared, format)
    for line in (line for verdict in verdicts for line in verdict.lines):
        say(line)
    raise typer.Exit(1 if any(verdict.failed for verdict in verdicts) else 0)


@app.command()
def verify(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, prefixes of them, or folders. [all]")
    ] = None,
    out: Out = Path("results"),
    as_json: Json = False,
) -> None:
    """Hold published directions against the results: reproduced, contradicted, or too small."""
    from bench import api
    from bench.reporting import directions

    compared = api.compare(runs or (), out=out)
    if not compared.tables:
        raise BenchError(f"no finished runs under {out}/runs; bench run makes them")
    found = directions.verified(compared, directions.read_directions())
    text = directions.render(found, str(out))
    typer.echo(directions.as_json(found) if as_json else text, nl=as_json)


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, prefixes of them, or folders. [all]")
    ] = None,
    out: Out = Path("results"),
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to. [report/ in the records' folder]")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Objective that differences are taken to. [the untrained encoder]"),
    ] = None,
    examples: Annotated[
        bool, typer.Option(help="Draw what each objective does to text, where the corpus is here.")
    ] = True,
) -> None:
    """Write one self-contained page of the results, with its figures as files beside it."""
    import functools
    import gc

    from bench import api
    from bench.console import say
    from bench.experiment import UNTRAINED, own_classes
    from bench.registry import Registry
    from bench.reporting.page import write_report
    from bench.reporting.page_corruption import corruptions
    from bench.settings import code_sha256

    controls = [path.parent.name for path in (out / "runs").glob(f"{UNTRAINED}-*/manifest.json")]
    if baseline is None and any(name.startswith(tuple(runs or [""])) for name in controls):
        baseline = UNTRAINED
    compared = api.compare(runs or (), out=out, baseline=baseline)
    gc.freeze()  # records are looked through for garbage no more
    look = functools.partial(
        corruptions, registry=Registry(), code_of=lambda asked: code_sha256(own_classes(asked))
    )
    written = write_report(compared, to or out / "report", str(out), look if examples else None)
    say(f"{written[0]}, with {len(written) - 1} files of its figures")


def _print_comparison(compared: Any, format: Format) -> None:
    from bench.console import width_of_stdout
    from bench.reporting.tables import render

    text = render(compared, format.value, width_of_stdout(), sys.stdout.isatty())
    sys.stdout.write(text)
    sys.stdout.flush()


def _corpus_notes() -> Any:
    """A line each time the preparation of a corpus enters a new stage."""
    from bench.console import say

    said: set[str] = set()

    def note(stage: str, _documents: int) -> None:
        if stage not in said:
            said.add(stage)
            say(f"corpus: {stage} ...")

    return note


def _say_corpus(experiment: Any, prepared: Any) -> None:
    """What is about to be trained on, with what was left out and how often it repeats."""
    from bench.console import say

    tokens = prepared.train.num_tokens
    say(
        f"corpus {prepared.name}: {prepared.documents:,} documents, {tokens:,} training tokens, "
        f"vocabulary {prepared.tokenizer.vocabulary.size:,}; "
        f"budget {', '.join(map(str, experiment.budgets))}"
    )
    for kind, count in sorted(prepared.skipped.items()):
        say(f"  left out or mended: {kind} {count:,}")
    if prepared.heldout is None:
        say("  warning: one document only, so nothing is held out and no validation loss is known")
    if experiment.budget.axis == "tokens" and experiment.budget.amount > 4 * tokens:
        epochs = experiment.budget.amount / tokens
        say(f"  warning: the budget reads this corpus {epochs:.1f} times over; expect overfitting")


def spread(arguments: list[str], option: str = "--corpus") -> list[str]:
    """`--corpus A B` as `--corpus A --corpus B`: a shell's `*.txt` comes as many words."""
    found: list[str] = []
    is_open = False
    for argument in arguments:
        if argument.startswith("-"):
            is_open = argument == option
        elif is_open and found[-1] != option:
            found.append(option)
        found.append(argument)
    return found


def main() -> None:
    """Run the command line; a `BenchError` is one line and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show ± still gets its table
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    defer("torch", "pandas", "sklearn", "seaborn", "scipy")
    try:
        app(spread(sys.argv[1:]))
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
