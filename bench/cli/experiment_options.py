"""Options of `run` and `plan`, and completion of their values.

Help texts are plain text. With rich markup, typer reads a `[word]` in a help text as a style and
drops it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _complete(listing: str) -> Callable[[str], list[str]]:
    """Completion of names after the last comma."""

    def complete(incomplete: str) -> list[str]:
        from bench.catalog import catalog

        before, comma, last = incomplete.rpartition(",")
        names = [item.name for item in catalog(listing)[listing]]  # type: ignore[arg-type]
        return [f"{before}{comma}{name}" for name in names if name.startswith(last)]

    return complete


Objectives = Annotated[
    list[str],
    typer.Option(
        "--objective",
        metavar="NAME",
        help="Objective to pretrain with. Repeat the option or separate names by comma; `all` "
        "takes every objective. 'span(rate=0.15|0.3)' makes one row for each value.",
        autocompletion=_complete("objectives"),
    ),
]
CorpusNames = Annotated[
    list[str],
    typer.Option(
        "--corpus",
        metavar="SOURCE",
        help="`micro` (generated), files or folders (.txt .md .jsonl .csv .parquet), or hf:NAME.",
        autocompletion=_complete("corpora"),
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Tasks or suites by comma; `none` only pretrains.",
        show_default="micro, with the corpus micro",
        autocompletion=_complete("tasks"),
    ),
]
LabelFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="KIND:FILE",
        help="Your own labels: classify:FILE, multilabel:FILE, score:FILE, pair:FILE, tag:FILE, "
        "similarity:FILE, qa:FILE or cluster:FILE. FILE is .csv, .tsv, .jsonl, .json, .parquet, "
        ".conllu or .conll, or a folder with train and test. Add as needed ,text=COLUMN "
        ",label=COLUMN ,split=COLUMN ,group=COLUMN ,metric=NAME ,name=NAME. Your own search: "
        "retrieve:docs=FILE,queries=FILE,qrels=FILE, or retrieve:FOLDER in the layout of BEIR. "
        "Stereotype pairs, shown and never ranked: bias:FILE. "
        "Repeat the option for more tasks.",
    ),
]
SizeName = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="NAME",
        help="Encoder size: tiny, mini, small or base.",
        autocompletion=_complete("sizes"),
    ),
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT",
        help="Budget of each run: 2M (tokens), 300kpred (predictions), 1e15flop, 60s or 10epochs.",
        show_default="set by --size",
    ),
]
Curve = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Number of budgets of each objective, each half of the previous one, for score over "
        "budget: 4 adds a half, a quarter and an eighth. 1 is the budget alone.",
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="SEEDS", help="Pretraining seeds: 0, 0-2 or 0,3.", show_default="set by --size"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OWNER.SETTING=VALUE",
        help="One setting, as span.mean_length=4 or encoder.num_layers=6. Repeat the "
        "option for more settings.",
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder of task data, NAME/SPLIT.parquet.",
        show_default="the hub",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A tokenizer.json, or `char`.",
        show_default="BPE on bytes, trained on the corpus",
    ),
]
TextColumn = Annotated[
    str,
    typer.Option(metavar="NAME", help="The column of the text in csv, jsonl and parquet files."),
]
Words = Annotated[
    str,
    typer.Option(
        metavar="auto|spaces|icu|characters|FILE",
        help="The words that objectives hide: between spaces, of Unicode with dictionaries (icu), "
        "single characters, or those of FILE, the corpus with spaces between its words.",
    ),
]
Documents = Annotated[
    str,
    typer.Option(
        metavar="auto|blank-lines|lines|files",
        help="What is one document of a text file: a block between blank lines, a line or a file.",
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
Limit = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of examples of each split of a task at most.",
        show_default="no limit",
    ),
]
ProbeNames = Annotated[
    str,
    typer.Option(
        "--probe",
        metavar="NAMES",
        help="Probes by comma: linear, mlp, knn (frozen features), finetune, contrastive (cosines "
        "after a short stage on pairs of texts from the corpus).",
    ),
]
Tune = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OWNER.SETTING=V,V,...",
        help="Give every objective the same trials of these values at a tenth of the budget, and "
        "run it with its own best: training.learning_rate=1e-3,2e-3,4e-3. Repeat for more.",
        show_default="no tuning",
    ),
]
TuneOn = Annotated[
    str,
    typer.Option(
        metavar="loss|self",
        help="What chooses: the held-out loss, or the dev parts of the self-supervised tasks.",
    ),
]
Ladder = Annotated[
    str | None,
    typer.Option(
        metavar="SIZES",
        help="Run at several sizes, as tiny,mini, and say whether the order of objectives holds.",
        show_default="one size",
    ),
]
RaceFlag = Annotated[
    bool,
    typer.Option(
        "--race",
        help="Start all objectives at two seeds, drop those significantly below the highest, and "
        "spend their seeds on the others. Drops the best objective in at most 5 % of races.",
    ),
]
Detect = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="A difference in points: plan says how many seeds show it and what they cost, and a "
        "race ends where it would be seen.",
        show_default="none",
    ),
]
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
GpusPerRun = Annotated[
    int,
    typer.Option(
        "--gpus-per-run",
        metavar="N",
        min=1,
        help="GPUs that share one run, each with a part of every batch.",
    ),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard",
        help="With --gpus-per-run: divide the encoder's layers too, where they do not fit one GPU.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray|slurm|print",
        help="Where runs are done: on this machine; on a Ray cluster (RAY_ADDRESS); by Slurm, as "
        "slurm:partition=gpu,timeout_min=600; or printed, one shell line for each run.",
    ),
]
AllowInexact = Annotated[
    bool,
    typer.Option(
        "--allow-inexact",
        help="Resume although the thread count or the version of torch changed.",
    ),
]
Observe = Annotated[
    list[str] | None,
    typer.Option(
        "--observe",
        metavar="NAME",
        help="Observer of the runs: tensorboard, trackio, wandb, or one of a plugin. Repeat the "
        "option or separate names by comma.",
        autocompletion=_complete("observers"),
    ),
]
