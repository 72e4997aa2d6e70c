"""Commands for objectives and tasks of one's own: new, check."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.flags import Data, Json, Limit, Overrides


class Provided(StrEnum):
    """What `bench new` makes a package of."""

    OBJECTIVE = "objective"
    TASK = "task"


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
