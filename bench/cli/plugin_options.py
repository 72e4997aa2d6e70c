"""Options of the commands about objectives, tasks and other things with a name.

Help texts are plain text. With rich markup, typer reads a `[word]` in a help text as a style and
drops it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ListingName = Literal["objectives", "tasks", "suites", "corpora", "sizes", "observers", "runs"]
ListingArgument = Annotated[
    ListingName | None,
    typer.Argument(metavar="LISTING", help="One listing.", show_default="all but the runs"),
]
DescribedName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An objective, task, suite, corpus, size, `encoder`, `training`, `probe`, "
        "`finetune`, `contrastive`, or a run.",
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
PluginKind = Literal["objective", "task"]
NewKind = Annotated[PluginKind, typer.Argument(metavar="KIND", help="What the package provides.")]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as my_objective.")]
Parent = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to make its folder.")]
CheckedName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An objective, a task, KIND:FILE as for --task, a run, or a folder of records.",
    ),
]
CheckCorpus = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Text for tasks that are made from a corpus.",
        show_default="none",
    ),
]
