"""Options of the commands about records.

Help texts are plain text. With rich markup, typer reads a `[word]` in a help text as a style and
drops it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RESULTS = Path("results")
"""Default folder of the records."""
Out = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Folder of the records, or its address in an object store, as s3://bucket/x.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="Run ids, prefixes of ids, folders of runs, or folders of records.",
        show_default="all runs",
    ),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, a prefix of it, or its folder.")
]
Format = Literal["table", "markdown", "latex", "csv", "json"]
FormatName = Annotated[Format, typer.Option(help="The output format.")]
Intervals = Literal["moderated", "own"]
IntervalsName = Annotated[
    Intervals,
    typer.Option(
        help="moderated: the spread between seeds is estimated over all objectives and tasks; "
        "own: each cell and each pair by itself (wider with few seeds)."
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The objective that differences are taken to.", show_default="none"
    ),
]
ColumnTasks = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Tasks or suites by comma: the columns, in order.",
        show_default="all tasks",
    ),
]
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
Leaderboard = Annotated[
    bool,
    typer.Option(
        "--leaderboard",
        help="Write leaderboard.html instead: objectives in groups of ties, with the evidence and "
        "the rules. RUN may be folders of records.",
    ),
]
MergedFolders = Annotated[
    list[Path], typer.Argument(metavar="DIR", help="Folders of records, as given to --out.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
MaskedText = Annotated[
    str, typer.Argument(metavar="TEXT", help="Text with [MASK] where a token is missing.")
]
TopK = Annotated[
    int, typer.Option("-k", "--top", metavar="N", min=1, help="Predictions at each [MASK].")
]
