"""The command line: one function for each command, options in, exit code out.

Heavy packages are deferred, not avoided (see `bench._startup`), so `bench list` answers at once.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench._startup import defer, leave, own_process, paused_collection
from bench.cli_options import (
    AllowInexact,
    Baseline,
    BudgetText,
    CheckCorpus,
    CheckedName,
    ColumnTasks,
    CorpusNames,
    CorruptionSeed,
    Curve,
    DataFolder,
    DescribedName,
    Detect,
    Device,
    Documents,
    FailIf,
    FigureFile,
    Format,
    FormatName,
    IntervalsName,
    Json,
    LabelFiles,
    Ladder,
    Leaderboard,
    Limit,
    ListingArgument,
    MaskedText,
    MergedFolders,
    NewKind,
    NewName,
    Objectives,
    Observe,
    OnlyGrids,
    Out,
    Overrides,
    Parent,
    ProbeNames,
    RaceFlag,
    ReportBaseline,
    ReportFolder,
    RunName,
    Runs,
    SampleRows,
    ScheduleProgress,
    Seeds,
    ShowExamples,
    ShownObjective,
    ShownRows,
    ShownText,
    SizeName,
    Tasks,
    TextColumn,
    Tokenizer,
    TopK,
    Transpose,
    Tune,
    TuneOn,
    Words,
    Yes,
)
from bench.errors import BenchError, FailedError, RefusedError
from bench.storage import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.text import Text

    from bench.reporting.comparison import Comparison

Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="CHECKPOINT",
        help="Continue a checkpoint with every objective: a folder of transformers, hf:NAME, or a "
        "run. It brings tokenizer and shape; untouched, it is a row of the table.",
        show_default="initial weights from the seed",
    ),
]
Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="CHECKPOINT",
        help="Score a public encoder too, without any training: a folder, hf:NAME, or a run. "
        "Repeat the option for more.",
        show_default="none",
    ),
]
Forget = Annotated[
    str | None,
    typer.Option(
        "--forget",
        metavar="FILE",
        help="With --init: a second corpus, whose held-out loss is shown before and after.",
        show_default="none",
    ),
]
_RESULTS = Path("results")
Library = Literal["transformers", "sentence-transformers"]
Attention = Literal["native", "bidirectional"]
app = typer.Typer(
    name="bench",
    help="Which self-supervised objective should I pretrain my text encoder with?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        import bench

        typer.echo(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Which self-supervised objective should I pretrain my text encoder with?"""


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
@takes_experiment
def run(
    experiment: Any,
    out: Out = _RESULTS,
    as_json: Json = False,
    allow_inexact: AllowInexact = False,
    race: RaceFlag = False,
    detect: Detect = None,
    observe: Observe = None,
) -> None:
    """Pretrain with each objective, probe, and compare.

    All runs have one budget. The untrained encoder is always compared too. Finished work is found,
    and unfinished work is resumed.
    """
    from bench import api
    from bench.engines.progress import log
    from bench.engines.running import run_experiment

    result = run_experiment(
        experiment,
        out,
        allow_inexact=allow_inexact,
        race=race,
        detect=detect,
        observe=observe or (),
    )
    if result.run_ids:
        baseline = api.experiment_baseline(result.run_ids)
        comparison = api.compare(result.run_ids, out=out, baseline=baseline, tasks=result.tasks)
        _print_comparison(comparison, "json" if as_json else "table")
        again = f"bench compare --out {shlex.quote(str(out))}"
        log(f"records: {out}/runs; compare them again at any time: {again}")
    raise typer.Exit(result.exit_code)


@app.command()
@takes_experiment
def plan(
    experiment: Any,
    out: Out = _RESULTS,
    race: RaceFlag = False,
    detect: Detect = None,
    observe: Observe = None,
    as_json: Json = False,
) -> None:
    """Show what `run` would do and cost, without doing it.

    With --race it is the cost of the full grid, which a race never exceeds.
    """
    from bench.engines.observers.watching import observer_classes
    from bench.plan import make_plan, render

    observer_classes(observe or ())  # as `run`, it refuses an unknown one
    found = make_plan(experiment, out, detect)
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else render(found))


@app.command("list")
def list_(
    listing: ListingArgument = None,
    out: Out = _RESULTS,
    as_json: Json = False,
) -> None:
    """List objectives, tasks, suites, corpora, sizes or runs.

    Broken plugins are listed with the reason.
    """
    from bench.catalog import catalog, render_list

    items = catalog(listing, out)
    if as_json:
        plain = {name: [item.to_json() for item in members] for name, members in items.items()}
        typer.echo(json.dumps(plain, indent=1))
    else:
        typer.echo(render_list(items))


@app.command()
def describe(
    name: DescribedName,
    out: Out = _RESULTS,
    as_json: Json = False,
) -> None:
    """Show one thing with all its settings, or one run.

    A run is shown with every layer behind its scores.
    """
    from bench.catalog import Item, render_item
    from bench.catalog import describe as find

    found = find(name, out)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        typer.echo(render_item(found) if isinstance(found, Item) else found.to_text())


@app.command()
def show(
    objective: ShownObjective,
    text: ShownText = None,
    corpus: CorpusNames = ["micro"],  # noqa: B006 (typer copies it)
    size: SizeName = "tiny",
    settings: Overrides = None,
    tokenizer: Tokenizer = None,
    text_column: TextColumn = "text",
    words: Words = "auto",
    documents: Documents = "auto",
    seed: CorruptionSeed = 0,
    progress: ScheduleProgress = 0.0,
    rows: ShownRows = None,
    sample: SampleRows = 512,
    figure: FigureFile = None,
    as_json: Json = False,
) -> None:
    """Show what an objective does to text, token by token.

    Each token is shown above its input and its target. Realised rates, run lengths and positions
    stand beside the nominal ones.
    """
    from bench.engines.execution import prepare
    from bench.engines.progress import log, log_stages
    from bench.showing.examples import ShowOptions, select_objective
    from bench.showing.examples import show as corrupt
    from bench.showing.json_values import as_json as to_json
    from bench.showing.plot import check_figure, draw
    from bench.showing.text import demonstration_lines

    if figure is not None:
        check_figure(figure)
    experiment = resolved(
        objective, corpus=corpus, tasks="none", size=size, settings=settings,
        tokenizer=tokenizer, text_column=text_column, words=words, documents=documents,
        device="cpu",
    )  # fmt: skip
    instance = select_objective(experiment.objectives, objective)
    prepared = prepare(experiment, log_stages())
    if prepared.words is not None:
        log(prepared.words.label)
    options = ShowOptions(text, rows or (2 if text is None else 3), sample, seed, progress)
    demonstration = corrupt(instance, prepared, experiment.shape, options)
    if figure is not None:
        draw(demonstration.statistics, instance.display_name, figure)
        log(f"figure: {figure}")
    if as_json:
        typer.echo(json.dumps(to_json(demonstration), indent=1))
    else:
        _print_lines(demonstration_lines(demonstration, _stdout_width()))


@app.command()
def new(
    kind: NewKind,
    name: NewName,
    parent: Parent = Path(),
) -> None:
    """Make a package with an objective or a task of your own.

    The package can be installed and passes its tests. Its README.md explains the next steps.
    """
    from bench.registry import Registry
    from bench.scaffold import scaffold

    folder = scaffold(kind, name, parent, Registry())
    place = shlex.quote(str(folder))
    steps = [f"pip install -e {place}", f"pytest {place}", f"bench describe {folder.name}"]
    typer.echo("\n    ".join([f"{folder} is ready; next:", *steps]))


@app.command()
def fill(
    run: RunName,
    text: MaskedText,
    k: TopK = 5,
    out: Out = _RESULTS,
    as_json: Json = False,
) -> None:
    """Predict the tokens at each [MASK] of a text, with probabilities.

    A causal run reads the text up to the first [MASK], or all of it, and continues it.
    """
    from bench import api

    filled = api.fill(run, text, k=k, out=out)
    if as_json:
        places = [
            [{"token": token, "probability": p} for token, p in tokens] for tokens in filled.places
        ]
        plain = {"places": places, "text": filled.text, "continued": filled.is_continued}
        typer.echo(json.dumps(plain, indent=1))
        return
    for number, tokens in enumerate(filled.places, 1):
        typer.echo("next" if filled.is_continued else f"[MASK] {number}")
        for token, probability in tokens:
            typer.echo(f"  {probability:7.2%}  {token!r}")
    typer.echo(filled.text)


@app.command()
def export(
    run: RunName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")],
    library: Annotated[
        Library, typer.Option("--for", help="The library that loads the export.")
    ] = "transformers",
    attention: Annotated[
        Attention,
        typer.Option("--as", help="bidirectional: a causal run with full attention, no head."),
    ] = "native",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Load the export with its library and compare all numbers with bench's own; "
            "exit 3 and write nothing if they differ.",
        ),
    ] = False,
    text_license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="NAME",
            help="Licence of the text, for the model card.",
            show_default="none",
        ),
    ] = None,
    out: Out = _RESULTS,
) -> None:
    """Write a run as a model for transformers or sentence-transformers.

    The folder has weights, tokenizer and a model card. The head is left out where it would give
    wrong predictions.
    """
    from bench.exporting import export as write_export

    exported = write_export(
        run, folder, library=library, attention=attention, verify=verify,
        text_license=text_license, out=out,
    )  # fmt: skip
    typer.echo(f"{folder}: {exported.class_name}, {exported.name}")
    for note in exported.notes:
        typer.echo(f"- {note}")
    for difference in exported.differences:
        typer.echo(f"largest difference of {difference}")


@app.command()
def check(
    name: CheckedName,
    settings: Overrides = None,
    data: DataFolder = None,
    corpus: CheckCorpus = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Check that an objective or a task keeps its contract.

    The checks are those of the conformance kit. Exit 0 if every check that applies passes, 1 if one
    fails, 4 if one could not run.
    """
    from bench.testing.report import data_root, exit_code, items_named, render, report

    found = report(items_named(name, settings or ()), data_root(data, corpus, limit))
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else render(found))
    raise typer.Exit(exit_code(found))


@app.command()
@paused_collection()
def compare(
    runs: Runs = None,
    out: Out = _RESULTS,
    baseline: Baseline = None,
    format: FormatName = "table",
    tasks: ColumnTasks = None,
    intervals: IntervalsName = "moderated",
    only: OnlyGrids = None,
    transpose: Transpose = False,
    fail_if: FailIf = None,
) -> None:
    """Compare finished runs.

    The tables show means, intervals, paired differences, cost and baselines.
    """
    from bench import api
    from bench.engines.progress import log

    comparison = api.compare(
        runs or (), out=out, baseline=baseline, tasks=tasks or (), intervals=intervals
    )
    results = [comparison.fail_if(expression) for expression in fail_if or ()]
    _print_comparison(comparison, format, only or (), transpose)
    for line in (line for result in results for line in result.lines):
        log(line)
    if any(result.failed for result in results):
        raise typer.Exit(1)
    leave()


@app.command()
def remove(run: RunName, out: Out = _RESULTS, yes: Yes = False) -> None:
    """Remove a run with its scores.

    The same `bench run` makes it again.
    """
    from bench.records.removal import remove_run
    from bench.reporting.run_summary import run_named

    found = run_named(out, run)
    if not yes:
        typer.confirm(f"Remove {found.folder} with {len(found.scores)} scores?", abort=True)
    remove_run(found, out)
    typer.echo(f"removed {found.data['id']}")


@app.command()
def merge(folders: MergedFolders, out: Out = _RESULTS) -> None:
    """Merge the records of several folders or machines into one.

    Every record is verified. Equal copies are merged, and the same command can be repeated. Exit 3
    if copies of a record differ or one is damaged: it is named and left out, and the folders are
    not changed.
    """
    from bench.records.merging import merge as merge_records

    merged = merge_records(folders, out)
    copied = ", ".join(f"{merged.copied[kind]} {kind}" for kind in ("runs", "scores", "baselines"))
    typer.echo(f"{out}: copied {copied}; {merged.equal} copies are equal to others")
    if merged.problems:
        count, shown = len(merged.problems), merged.problems[:20]
        shown += [f"and {count - len(shown)} more"] if count > len(shown) else []
        reasons = "\n  ".join(shown)
        raise RefusedError(f"left out {count} of the records, merged all others:\n  {reasons}")


@app.command()
@paused_collection()
def verify(runs: Runs = None, out: Out = _RESULTS, as_json: Json = False) -> None:
    """Compare published directions with the results.

    Each direction is reproduced, contradicted, or the runs are too few to decide.
    """
    from bench import api
    from bench.reporting import directions

    comparison = api.compare(runs or (), out=out)
    verified = directions.verify(comparison, directions.read_directions())
    text = directions.render(verified, str(out))
    typer.echo(directions.as_json(verified) if as_json else text, nl=as_json)


@app.command()
@paused_collection()
def report(
    runs: Runs = None,
    out: Out = _RESULTS,
    to: ReportFolder = None,
    baseline: ReportBaseline = None,
    examples: ShowExamples = True,
    leaderboard: Leaderboard = False,
) -> None:
    """Write one self-contained page of the results.

    The figures are written as files beside it.
    """
    if leaderboard:
        from bench import api
        from bench.engines.progress import log
        from bench.reporting.page.leaderboard import write_leaderboard

        comparison = api.compare(sorted(runs or ()), out=out, baseline=baseline)
        log(str(write_leaderboard(comparison, to or out / "report")))
        return
    from bench.reporting.figures.workers import ReportFigures, drawing_processes

    with drawing_processes() as draw_figures:
        import functools

        from bench import api
        from bench.engines.progress import log
        from bench.experiment import UNTRAINED, own_classes
        from bench.registry import Registry
        from bench.reporting.page.corruption import corruptions
        from bench.reporting.page.page import write_report
        from bench.settings import code_sha256

        names = [path.parent.name for path in (out / "runs").glob(f"{UNTRAINED}-*/manifest.json")]
        if baseline is None and any(name.startswith(tuple(runs or [""])) for name in names):
            baseline = UNTRAINED
        figures = ReportFigures(draw_figures)
        comparison = api.compare(runs or (), out=out, baseline=baseline, watch=figures.start)
        draw = examples and functools.partial(
            corruptions,
            registry=Registry(),
            code_of=lambda objective: code_sha256(own_classes(objective)),
        )
        files = write_report(comparison, to or out / "report", str(out), draw or None, figures)
    log(f"{files[0]}, with {len(files) - 1} files of its figures")
    leave()


def _print_comparison(
    comparison: Comparison, format: Format, only: Sequence[str] = (), transpose: bool = False
) -> None:
    """Print in a format, no wider than the terminal."""
    from bench.reporting.text import render

    text = render(comparison, format, _stdout_width(), sys.stdout.isatty(), only, transpose)
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_lines(lines: Iterable[Text]) -> None:
    """Print styled lines, in colour on a terminal that supports it."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def _stdout_width() -> int:
    from rich.console import Console

    return Console(file=sys.stdout).width if sys.stdout.isatty() else 100


def spread_corpus(arguments: list[str]) -> list[str]:
    """`--corpus A B` as `--corpus A --corpus B`: a shell expands `*.txt` to several words.

    Only for commands without positional arguments: elsewhere a word after the corpus may be the
    text to show.
    """
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command not in ("run", "plan"):
        return arguments
    spread: list[str] = []
    is_open = False
    for argument in arguments:
        if argument.startswith("-"):
            is_open = argument == "--corpus"
        elif is_open and spread[-1] != "--corpus":
            spread.append("--corpus")
        spread.append(argument)
    return spread


def main() -> None:
    """Run the command line; a `BenchError` is one line and an exit code, never a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed: `bench run >&-`, as some daemons do
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without ± still shows the rest
    defer("torch", "pandas", "sklearn", "seaborn", "scipy")
    try:
        app(spread_corpus(sys.argv[1:]))
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `bench list | head`: the reader has seen enough
        _discard_stdout()
        sys.exit(0)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        _discard_stdout()
        sys.stderr.write(f"bench: the output could not be written completely ({error.strerror})\n")
        sys.exit(FailedError.exit_code)


def _discard_stdout() -> None:
    """Make the flush at exit succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def process() -> None:
    """`bench` as a process of its own, which may end as soon as its work is done."""
    own_process()
    main()
