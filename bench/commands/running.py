"""Commands that start or plan work: run, plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.commands.flags import Json, Out, takes_experiment
from bench.commands.results import Format, print_comparison


@takes_experiment
def run(
    experiment: Any,
    out: Out = Path("results"),
    as_json: Json = False,
    allow_inexact: Annotated[
        bool, typer.Option(help="Resume although thread count or torch version changed.")
    ] = False,
) -> None:
    """Pretrain with each objective under one budget, probe, and compare.

    The untrained encoder is always among them. Finished work is found, unfinished work resumed.
    """
    from bench import api
    from bench.engines.progress import Board, say
    from bench.experiment import UNTRAINED

    prepared = api.prepare(experiment, corpus_notes())
    say_corpus(experiment, prepared)
    num_jobs = len(experiment.specs(prepared)) + bool(experiment.tasks)
    with Board(num_jobs) as board:
        outcome = api.execute(experiment, prepared, out, board, allow_inexact)
    done = outcome.finished
    if done:
        control = next((UNTRAINED for run in done if run.startswith(f"{UNTRAINED}-")), None)
        compared = api.compare(done, out=out, tasks=outcome.tasks, baseline=control)
        print_comparison(compared, Format.JSON if as_json else Format.TABLE)
        say(f"records: {out}/runs; again at any time: bench compare --out {out}")
    raise typer.Exit(outcome.exit_code)


@takes_experiment
def plan(
    experiment: Any,
    out: Out = Path("results"),
    as_json: Json = False,
) -> None:
    """Say what `run` with the same flags would do, without doing it."""
    from bench.plan import forecast, render

    found = forecast(experiment, out)
    typer.echo(json.dumps(found, indent=1) if as_json else render(found))


def corpus_notes() -> Any:
    """A line each time the preparation of a corpus enters a new stage."""
    from bench.engines.progress import say

    said: set[str] = set()

    def note(stage: str, _documents: int) -> None:
        if stage not in said:
            said.add(stage)
            say(f"corpus: {stage} ...")

    return note


def say_corpus(experiment: Any, prepared: Any) -> None:
    """What is about to be trained on, with what was left out and how often it repeats."""
    from bench.engines.progress import say

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
