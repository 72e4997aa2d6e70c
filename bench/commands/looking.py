"""Commands that show what there is and what it does: list, describe, show, fill."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.flags import (
    Corpus,
    Json,
    Out,
    Overrides,
    SizeName,
    TextColumn,
    Tokenizer,
    resolved,
)
from bench.commands.running import corpus_notes


class Listed(StrEnum):
    """What `bench list` lists."""

    OBJECTIVES = "objectives"
    TASKS = "tasks"
    CORPORA = "corpora"
    SIZES = "sizes"


def list_(
    what: Annotated[Listed | None, typer.Argument(help="All of them if not said.")] = None,
    as_json: Json = False,
) -> None:
    """Show the objectives, tasks, corpora and sizes there are, broken plugins included."""
    from bench.catalog import catalogue, render

    found = catalogue(None if what is None else what.value)
    typer.echo(json.dumps(found, indent=1) if as_json else render(found))


def describe(
    name: Annotated[
        str, typer.Argument(help="Objective, task, corpus, size, `training`, or a run.")
    ],
    out: Out = Path("results"),
    as_json: Json = False,
) -> None:
    """Show one thing with all its settings; a run with every layer of its scores."""
    from bench.catalog import describe as find
    from bench.catalog import render_one

    found = find(name, out)
    typer.echo(json.dumps(found, indent=1) if as_json else render_one(found))


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
    from bench.engines.progress import print_lines, say, width_of_stdout
    from bench.showing.examples import Look, named
    from bench.showing.examples import show as look_at
    from bench.showing.json_values import as_json as plain
    from bench.showing.plot import check_figure, draw
    from bench.showing.text import shown_lines

    if figure is not None:
        check_figure(figure)
    experiment = resolved(
        objectives=[objective], corpus=corpus, tasks="none", size=size, overrides=overrides,
        tokenizer=tokenizer, text_column=text_column, device="cpu",
    )  # fmt: skip
    looked_at = named(experiment.objectives, objective)
    prepared = api.prepare(experiment, corpus_notes())
    look = Look(text, rows or (2 if text is None else 3), sample, seed, progress)
    shown = look_at(looked_at, prepared, experiment.shape, look)
    if figure is not None:
        draw(shown.figures, looked_at.display_name, figure)
        say(f"figure: {figure}")
    if as_json:
        typer.echo(json.dumps(plain(shown), indent=1))
    else:
        print_lines(shown_lines(shown, width_of_stdout()))


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
