"""Options that several commands share, each written once, and shell completion of their values.

Help texts are plain text. With rich markup, typer reads a `[word]` in a help text as a style and
drops it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

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
        help="Your own labels: classify:FILE, pair:FILE, tag:FILE, similarity:FILE or qa:FILE. "
        "FILE is .csv, .tsv, .jsonl, .parquet, or a folder with train and test. Add as needed "
        ",text=COLUMN ,label=COLUMN ,split=COLUMN ,group=COLUMN ,metric=NAME ,name=NAME. "
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
        help="Budget of each run: 2M (tokens), 300kpred (predictions), 1e15flop or 60s.",
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
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the records.")]
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
        help="Probes by comma: linear, mlp, knn (frozen features), finetune.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN", help="Run ids, prefixes of ids, or folders.", show_default="all runs"
    ),
]


Format = Literal["table", "markdown", "latex", "csv", "json"]
Intervals = Literal["moderated", "own"]
ListingName = Literal["objectives", "tasks", "suites", "corpora", "sizes", "observers", "runs"]
PluginKind = Literal["objective", "task"]

NewKind = Annotated[PluginKind, typer.Argument(metavar="KIND", help="What the package provides.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as my_objective.")]
Parent = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to make its folder.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, a prefix of it, or its folder.")
]
MaskedText = Annotated[
    str, typer.Argument(metavar="TEXT", help="Text with [MASK] where a token is missing.")
]
TopK = Annotated[
    int, typer.Option("-k", "--top", metavar="N", min=1, help="Predictions at each [MASK].")
]
CheckedName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="An objective, a task, or KIND:FILE as for --task."),
]
CheckCorpus = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Text for tasks that are made from a corpus.",
        show_default="none",
    ),
]
ListingArgument = Annotated[
    ListingName | None,
    typer.Argument(metavar="LISTING", help="One listing.", show_default="all but the runs"),
]
DescribedName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An objective, task, suite, corpus, size, `encoder`, `training`, or a run.",
    ),
]
ShownObjective = Annotated[
    str, typer.Argument(metavar="OBJECTIVE", help="The objective, with one value per setting.")
]
ShownText = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT", help="A sentence to corrupt.", show_default="rows of the corpus"
    ),
]
CorruptionSeed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the corruption.")]
ScheduleProgress = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0.0, max=1.0, help="Share of the budget spent, for schedules."
    ),
]
ShownRows = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=100,
        help="Rows of the corpus, or epochs of the sentence.",
        show_default="2 rows, or 3 epochs",
    ),
]
SampleRows = Annotated[
    int, typer.Option(metavar="N", min=1, help="Rows behind the realised figures.")
]
FigureFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw the figures into a .png, .svg or .pdf.",
        show_default="no file",
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
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The objective that differences are taken to.", show_default="none"
    ),
]
FormatName = Annotated[Format, typer.Option(help="The output format.")]
ColumnTasks = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Tasks or suites by comma: the columns, in order.",
        show_default="all tasks",
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
IntervalsName = Annotated[
    Intervals,
    typer.Option(
        help="moderated: the spread between seeds is estimated over all objectives and tasks; "
        "own: each cell and each pair by itself (wider with few seeds)."
    ),
]
MergedFolders = Annotated[
    list[Path], typer.Argument(metavar="DIR", help="Folders of records, as given to --out.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
OnlyGrids = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BLOCK",
        help="Show these grids alone, by the beginning of their heading: scores, cost. Repeat it "
        "for more.",
        show_default="all",
    ),
]
Transpose = Annotated[
    bool, typer.Option("--transpose", help="Show tasks as rows and objectives as columns.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Exit 1 if this holds significantly: 'span < token', 'glue: span < token', "
        "'aggregate: span < token', 'span.sst2 < 0.8'. Repeat the option for more.",
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder to write to.", show_default="report/ in the folder of --out"
    ),
]
Leaderboard = Annotated[
    bool,
    typer.Option(
        "--leaderboard",
        help="Write leaderboard.html instead: objectives in groups of ties, with the evidence and "
        "the rules. RUN may be folders of records.",
    ),
]
ReportBaseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The objective that differences are taken to.",
        show_default="the untrained encoder",
    ),
]
ShowExamples = Annotated[
    bool,
    typer.Option(help="Show what each objective does to text, where the corpus is in the cache."),
]
