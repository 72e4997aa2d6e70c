"""Commands that read finished runs: compare, verify, report."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench._startup import leave, paused_collection
from bench.commands.flags import Json, Out, Runs
from bench.errors import BenchError


class Format(StrEnum):
    """Spellings of a comparison."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


@paused_collection()
def compare(
    runs: Runs = None,
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
    from bench.engines.progress import say

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
    print_comparison(compared, format)
    for line in (line for verdict in verdicts for line in verdict.lines):
        say(line)
    if any(verdict.failed for verdict in verdicts):
        raise typer.Exit(1)
    leave()


@paused_collection()
def verify(
    runs: Runs = None,
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


@paused_collection()
def report(
    runs: Runs = None,
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
    from bench.reporting.figures.workers import painters

    with painters() as painter:
        import functools

        from bench import api
        from bench.engines.progress import say
        from bench.experiment import UNTRAINED, own_classes
        from bench.registry import Registry
        from bench.reporting.figures.gallery import Gallery
        from bench.reporting.page.corruption import corruptions
        from bench.reporting.page.page import write_report
        from bench.settings import code_sha256

        names = [path.parent.name for path in (out / "runs").glob(f"{UNTRAINED}-*/manifest.json")]
        if baseline is None and any(name.startswith(tuple(runs or [""])) for name in names):
            baseline = UNTRAINED
        gallery = Gallery(painter)
        compared = api.compare(runs or (), out=out, baseline=baseline, watch=gallery.begin)
        look = examples and functools.partial(
            corruptions, registry=Registry(), code_of=lambda asked: code_sha256(own_classes(asked))
        )
        written = write_report(compared, to or out / "report", str(out), look or None, gallery)
    say(f"{written[0]}, with {len(written) - 1} files of its figures")
    leave()


def print_comparison(compared: Any, format: Format) -> None:
    """Written as asked, and no wider than the terminal."""
    from bench.engines.progress import width_of_stdout
    from bench.reporting.text import render

    text = render(compared, format.value, width_of_stdout(), sys.stdout.isatty())
    sys.stdout.write(text)
    sys.stdout.flush()
