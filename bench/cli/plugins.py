"""The commands about objectives, tasks and other things with a name."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import typer

from bench.cli.app import app
from bench.cli.experiment_options import (
    CorpusNames,
    DataFolder,
    Documents,
    Limit,
    Overrides,
    SizeName,
    TextColumn,
    Tokenizer,
    Words,
)
from bench.cli.experiments import resolved
from bench.cli.output import print_lines, stdout_width
from bench.cli.plugin_options import (
    CheckCorpus,
    CheckedName,
    CorruptionSeed,
    DescribedName,
    FigureFile,
    ListingArgument,
    NewKind,
    NewName,
    Parent,
    SampleRows,
    ScheduleProgress,
    ShownObjective,
    ShownRows,
    ShownText,
)
from bench.cli.record_options import RESULTS, Json, Out
from bench.errors import RefusedError


@app.command("list")
def list_(
    listing: ListingArgument = None,
    out: Out = RESULTS,
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
    out: Out = RESULTS,
    as_json: Json = False,
) -> None:
    """Show one thing with all its settings, or one run.

    A run is shown with every layer behind its scores.
    """
    from bench.catalog import Item, render_item
    from bench.catalog import describe as find

    thing = find(name, out)
    if as_json:
        typer.echo(json.dumps(thing.to_json(), indent=1))
    else:
        typer.echo(render_item(thing) if isinstance(thing, Item) else thing.to_text())


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
        print_lines(demonstration_lines(demonstration, stdout_width()))


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


def _check_records(name: str, out: Path, as_json: bool) -> None:
    from bench.records.verification import verify_records

    verified = verify_records(name, out)
    typer.echo(json.dumps(verified.to_json(), indent=1) if as_json else str(verified))
    if verified.problems:
        reasons = "\n  ".join(verified.problems)
        raise RefusedError(f"{len(verified.problems)} records are damaged:\n  {reasons}")


@app.command()
def check(
    name: CheckedName,
    settings: Overrides = None,
    data: DataFolder = None,
    corpus: CheckCorpus = None,
    limit: Limit = None,
    out: Out = RESULTS,
    as_json: Json = False,
) -> None:
    """Check that an objective or a task keeps its contract, or that records are as written.

    The checks of objectives and tasks are those of the conformance kit. Exit 0 if every check that
    applies passes, 1 if one fails, 4 if one could not run. Of records every file is hashed; exit 3
    if one is damaged.
    """
    from bench.records.verification import names_records
    from bench.testing.report import data_root, exit_code, is_plugin, items_named, render, report

    if not is_plugin(name) and names_records(name, out):
        _check_records(name, out, as_json)
        return
    findings = report(items_named(name, settings or ()), data_root(data, corpus, limit))
    typer.echo(json.dumps(findings.to_json(), indent=1) if as_json else render(findings))
    raise typer.Exit(exit_code(findings))
