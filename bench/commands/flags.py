"""Flags that several commands share, each said once.

`run` and `plan` must take the same ones, or a plan would be of something else: both take an
experiment, and `takes_experiment` gives them the flags that ask for it. typer reads a command's
flags from its signature, so the signature is put together from two.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

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

Runs = Annotated[
    list[str] | None, typer.Argument(help="Run ids, prefixes of them, or folders. [all]")
]


def requested(
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
    limit: Limit = None,
    probe: Probe = "linear",
) -> Any:
    """The experiment that the flags ask for."""
    return resolved(**locals())


def resolved(**given: Any) -> Any:
    """The experiment of a `Request`; None is a flag that was not given."""
    from bench.experiment import Request, resolve
    from bench.registry import Registry

    said = {name: value for name, value in given.items() if value is not None}
    return resolve(Request(**said), Registry())


def takes_experiment(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the flags of `requested` in the place of its first parameter."""
    shared = inspect.signature(requested, eval_str=True).parameters
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def with_flags(**given: Any) -> None:
        experiment = requested(**{name: given.pop(name) for name in shared})
        command(experiment, **given)

    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    signature = inspect.Signature([*shared.values(), *own])
    with_flags.__signature__ = signature  # type: ignore[attr-defined]
    return with_flags
