"""Figures of training and probing: validation loss over tokens, and scores by layer.

Losses of different objectives are not comparable (rule 6 of comparison). Each objective has a panel
of its own with two references: the loss of a uniform prediction, log |V|, and the loss of a
prediction from token frequencies. The lines are matplotlib's: seaborn's line plots compute
statistics that are not needed here, which would take most of the time for dozens of panels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import data as figure_data
from bench.reporting.figures import style
from bench.reporting.figures.data import FigureData
from bench.reporting.figures.style import FAINT, MARKERS, SERIES, Drawing, Figure, short_text
from bench.reporting.formatting import big_number, listing

if TYPE_CHECKING:
    import pandas as pd

    from bench.reporting.table import Table

MAX_LAYER_TASKS = 8
"""Up to this number of tasks, all have a panel of layers; with more, the first `FEW_LAYER_TASKS`
have."""
FEW_LAYER_TASKS = 4
MAX_LINES = 6
"""Maximum number of lines in a panel, which is the number of colours with markers."""


def drawings(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figures of training and probing of a table, not drawn yet."""
    scores = figure_data.layers(table)
    if scores.rows:
        kinds = {row.name: row.kind for row in table.rows}
        columns = [column.name for column in table.columns]
        yield partial(layers, scores, kinds, columns, f"{prefix}layers")
    losses, count = figure_data.losses(table)
    if losses.rows:
        references = figure_data.reference_losses(table)
        yield partial(curves, losses, count, references, f"{prefix}curves")


def curves(
    data: FigureData, num_objectives: int, references: Mapping[str, float], name: str = "curves"
) -> Figure:
    """Validation loss over tokens, with a panel for each objective.

    Args:
        data: From `figures.data.losses`.
        num_objectives: Number of pretrained objectives.
        references: From `figures.data.reference_losses`.
        name: Stem of the file names.
    """
    losses = data.frame()
    shown = list(dict.fromkeys(losses["display_name"]))
    with style.style_context():
        canvas = _draw_curves(shown, losses, references)
        caption = (
            "Loss on held-out text, one line for each seed. Objectives predict different things, "
            "so each panel has its own scale, and the losses do not rank the objectives. "
            "Dashed: log |V|, the loss of a uniform prediction. Dotted: the loss of a prediction "
            "from token frequencies. A sum of losses, as of a generator and a discriminator, is "
            "not on the scale of these references."
        )
        if len(shown) < num_objectives:
            caption += f" The figure shows the first {len(shown)} of {num_objectives} objectives."
        by_run = losses.sort_values("tokens").groupby(["display_name", "seed"])
        last = by_run["validation_loss"].last()
        alt = "Training curves, not comparable with each other. Last validation loss in nats: "
        alt += listing(
            [f"{short_text(row)} {last[row].mean():.2f}" for row in shown if row in last], 12
        )
        names = ["display_name", "seed", "tokens", "validation_loss"]
        title = "Validation loss during training"
        return style.to_figure(canvas, name, title, caption, alt + ".", losses[names])


def _draw_curves(names: list[str], losses: pd.DataFrame, references: Mapping[str, float]) -> Any:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = "tokens", "validation_loss"
    canvas, axes = style.make_panels(len(names), 4, (1.75, 1.35), 0.55, (0.35, 0.7))
    for index, (row, ax) in enumerate(zip(names, axes, strict=True)):
        own = losses[losses["display_name"] == row]
        everything = [*own["validation_loss"], *references.values()]
        low, high = min(everything), max(everything)
        padding = 0.06 * (high - low or 1.0)
        for key, dash in (("log_vocabulary", (0, (4, 2))), ("unigram", (0, (1, 1.5)))):
            if key in references:
                ax.axhline(references[key], color=FAINT, linestyle=dash, linewidth=1)
        seeds = [line for _, line in own.groupby("seed")]
        path = [np.concatenate([np.append(line[key], np.nan) for line in seeds]) for key in axis]
        ax.plot(*path, color=SERIES[0], linewidth=1.1, alpha=0.8)
        ax.set(ylim=(low - padding, high + padding), xlabel="tokens", ylabel="")
        ax.set_title(short_text(row, 28), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: big_number(value)))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        if index % 4 == 0:
            ax.set_ylabel("nats")
    return canvas


def layers(
    data: FigureData, kinds: Mapping[str, str], columns: list[str], name: str = "layers"
) -> Figure:
    """The score of each layer on the dev part, by which the probe chooses its layer.

    Args:
        data: From `figures.data.layers`.
        kinds: Row name -> kind of row, in order of the table.
        columns: Column names, in order of the table.
        name: Stem of the file names.
    """
    scores = data.frame()
    columns = [column for column in columns if (scores["column"] == column).any()]
    rows = [row for row in kinds if (scores["display_name"] == row).any()]
    shown = rows if len(rows) <= MAX_LINES else _by_rank(kinds, scores)
    tasks = columns if len(columns) <= MAX_LAYER_TASKS else columns[:FEW_LAYER_TASKS]
    with style.style_context():
        canvas = _draw_layers(scores, shown, tasks)
        caption = (
            "Layer 0 is the embeddings. These are not the reported scores: the probe chooses its "
            "layer by them before it reads the reported split. Each is a least-squares fit scored "
            "on the dev part of the training split, with the best pooling of the layer, as the "
            "mean over seeds."
        )
        if len(shown) < len(rows) or len(tasks) < len(columns):
            parts = []
            if len(shown) < len(rows):
                parts.append(f"{len(shown)} of {len(rows)} rows, those with the best mean rank")
            if len(tasks) < len(columns):
                parts.append(f"{len(tasks)} of {len(columns)} tasks")
            caption += f" The figure shows {' and '.join(parts)}; all are in {name}.csv."
        best = scores.loc[scores.groupby(["display_name", "column"])["score"].idxmax()]
        layer = best.groupby("display_name")["layer"].median()
        alt = "Scores by layer. The best layer, median over tasks: "
        alt += listing([f"{short_text(n)} {layer[n]:g}" for n in shown], 12) + "."
        return style.to_figure(canvas, name, "Scores by layer", caption, alt, scores)


def _by_rank(kinds: Mapping[str, str], scores: pd.DataFrame) -> list[str]:
    """`MAX_LINES` rows by mean rank of their best layers; one of them is the untrained encoder."""
    best = scores.groupby(["column", "display_name"])["score"].max().unstack()
    ranked = best.rank(axis=1, ascending=False).mean().sort_values(kind="stable").index
    untrained = [row for row, kind in kinds.items() if kind == "untrained" and row in ranked][:1]
    first = [name for name in ranked if name not in untrained][: MAX_LINES - len(untrained)]
    return [row for row in kinds if row in {*first, *untrained}]


def _draw_layers(scores: pd.DataFrame, shown: list[str], tasks: list[str]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    markers = dict(zip(shown, zip(SERIES, MARKERS, strict=True), strict=False))
    margins = (0.35, 0.62 + 0.19 * -(-len(shown) // 4))
    canvas, axes = style.make_panels(len(tasks), 4, (1.75, 1.4), 0.55, (0.42, 0.72), margins)
    for index, (column, ax) in enumerate(zip(tasks, axes, strict=True)):
        own = scores[(scores["column"] == column) & scores["display_name"].isin(shown)]
        for row, (color, marker) in markers.items():
            line = own[own["display_name"] == row]
            ax.plot(
                line["layer"], line["score"] * 100, color=color, marker=marker, markersize=4.5,
                markeredgewidth=0, linewidth=1.1,
            )  # fmt: skip
        criterion = own["criterion"].iloc[0] if len(own) else ""
        ax.set(xlabel=f"layer ({short_text(str(criterion), 14)})")
        ax.set_ylabel("dev score x 100" if index % 4 == 0 else "")
        ax.set_title(short_text(column, 28), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
    handles = [
        Line2D([], [], color=c, marker=m, markersize=4.5, linewidth=1.1, label=short_text(row))
        for row, (c, m) in markers.items()
    ]
    style.add_legend(canvas, handles)
    return canvas
