"""The commands about records: compare, report, verify, merge, remove, fill, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench._startup import leave, paused_collection
from bench.cli.app import app
from bench.cli.output import name_damaged, print_comparison
from bench.cli.record_options import (
    RESULTS,
    Baseline,
    ColumnTasks,
    FailIf,
    FormatName,
    IntervalsName,
    Json,
    Leaderboard,
    MaskedText,
    MergedFolders,
    OnlyGrids,
    Out,
    ReportBaseline,
    ReportFolder,
    RunName,
    Runs,
    ShowExamples,
    TopK,
    Transpose,
    Yes,
)
from bench.errors import RefusedError

if TYPE_CHECKING:
    from bench.reporting.comparison import Comparison

Library = Literal["transformers", "sentence-transformers"]
Attention = Literal["native", "bidirectional"]


@app.command()
@paused_collection()
def compare(
    runs: Runs = None,
    out: Out = RESULTS,
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
    print_comparison(comparison, format, only or (), transpose)
    for line in (line for result in results for line in result.lines):
        log(line)
    if any(result.failed for result in results):
        name_damaged(comparison)
        raise typer.Exit(1)
    _end(comparison)


def _end(comparison: Comparison) -> None:
    """End the command: with exit code 4 and their names if damaged records were left out."""
    if code := name_damaged(comparison):
        raise typer.Exit(code)
    leave()


@app.command()
def remove(run: RunName, out: Out = RESULTS, yes: Yes = False) -> None:
    """Remove a run with its scores.

    The same `bench run` makes it again.
    """
    from bench.records.removal import remove_run
    from bench.reporting.run_summary import run_named

    record = run_named(out, run)
    if not yes:
        typer.confirm(f"Remove {record.folder} with {len(record.scores)} scores?", abort=True)
    remove_run(record, out)
    typer.echo(f"removed {record.data['id']}")


@app.command()
def merge(folders: MergedFolders, out: Out = RESULTS) -> None:
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
def verify(runs: Runs = None, out: Out = RESULTS, as_json: Json = False) -> None:
    """Compare published directions with the results.

    Each direction is reproduced, contradicted, or the runs are too few to decide.
    """
    from bench import api
    from bench.reporting import directions

    comparison = api.compare(runs or (), out=out)
    verified = directions.verify(comparison, directions.read_directions())
    text = directions.render(verified, str(out))
    typer.echo(directions.as_json(verified) if as_json else text, nl=as_json)
    _end(comparison)


@app.command()
@paused_collection()
def report(
    runs: Runs = None,
    out: Out = RESULTS,
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
        _end(comparison)
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
    _end(comparison)


@app.command()
def fill(
    run: RunName,
    text: MaskedText,
    k: TopK = 5,
    out: Out = RESULTS,
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
    out: Out = RESULTS,
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
