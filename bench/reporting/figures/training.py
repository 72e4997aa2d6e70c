"""Figures of what training and probing saw: validation loss over tokens, and scores by layer.

Losses of unlike objectives are not comparable (rule 6 of comparison), so each has a panel to itself
with the two references that make it readable: what knows nothing scores, log |V|, and what knows
only how frequent each token is. Lines are matplotlib's: seaborn's own prepare statistics that are
not wanted here, and are most of the time that dozens of panels take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style as figures
from bench.reporting.figures.data import Numbers
from bench.reporting.figures.style import FAINT, MARKERS, SERIES, Figure, short_text
from bench.reporting.formatting import big_number, listing

if TYPE_CHECKING:
    import pandas as pd

MOST_LAYERED = 8
"""Panels of the layer profiles; of more tasks the first `SOME_LAYERED`."""
SOME_LAYERED = 4
MOST_LINES = 6
"""Lines of a panel: as many as there are colours with markers."""


def curves(numbers: Numbers, of: int, references: dict[str, float], name: str = "curves") -> Figure:
    """Validation loss over tokens, a panel an objective.

    Args:
        numbers: From `frames.losses`.
        of: How many objectives there are.
        references: From `frames.references`.
        name: Stem of the files.
    """
    data = numbers.frame()
    shown = list(dict.fromkeys(data["display_name"]))
    with figures.style():
        canvas = _draw_curves(shown, data, references)
        caption = (
            "One line a seed, on held-out text. Each objective is asked something else, so each "
            "panel has its own scale, and a lower line in one than in another ranks nobody. "
            "Dashed: log |V|, what guessing scores; dotted: what knowing each token's frequency "
            "scores; a sum of several losses, as replaced_token's, is not on their scale."
        )
        if len(shown) < of:
            caption += f" The first {len(shown)} of {of} objectives."
        last = (
            data.sort_values("tokens").groupby(["display_name", "seed"])["validation_loss"].last()
        )
        alt = "Training curves, not comparable with each other. Last validation loss in nats: "
        alt += listing(
            [f"{short_text(entry)} {last[entry].mean():.2f}" for entry in shown if entry in last],
            12,
        )
        columns = ["display_name", "seed", "tokens", "validation_loss"]
        return figures.finish(
            canvas, name, "Validation loss while training", caption, alt + ".", data[columns]
        )


def _draw_curves(names: list[str], data: pd.DataFrame, references: dict[str, float]) -> Any:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = "tokens", "validation_loss"
    canvas, axes = figures.panels(len(names), 4, (1.75, 1.35), 0.55, (0.35, 0.7))
    for index, (entry, ax) in enumerate(zip(names, axes, strict=True)):
        own = data[data["display_name"] == entry]
        everything = [*own["validation_loss"], *references.values()]
        low, high = min(everything), max(everything)
        room = 0.06 * (high - low or 1.0)
        for key, dash in (("log_vocabulary", (0, (4, 2))), ("unigram", (0, (1, 1.5)))):
            if key in references:
                ax.axhline(references[key], color=FAINT, linestyle=dash, linewidth=1)
        seeds = [line for _, line in own.groupby("seed")]
        path = [np.concatenate([np.append(line[key], np.nan) for line in seeds]) for key in axis]
        ax.plot(*path, color=SERIES[0], linewidth=1.1, alpha=0.8)
        ax.set(ylim=(low - room, high + room), xlabel="tokens", ylabel="")
        ax.set_title(short_text(entry, 28), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: big_number(value)))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        if index % 4 == 0:
            ax.set_ylabel("nats")
    return canvas


def layers(
    numbers: Numbers, kinds: Mapping[str, str], columns: list[str], name: str = "layers"
) -> Figure:
    """What each layer scored when the probe chose among them.

    Args:
        numbers: From `frames.layers`.
        kinds: Entries in order, and what they are.
        columns: In order.
        name: Stem of the files.
    """
    data = numbers.frame()
    columns = [column for column in columns if (data["column"] == column).any()]
    entries = [entry for entry in kinds if (data["display_name"] == entry).any()]
    shown = entries if len(entries) <= MOST_LINES else _leaders(kinds, data)
    asked = columns if len(columns) <= MOST_LAYERED else columns[:SOME_LAYERED]
    with figures.style():
        canvas = _draw_layers(data, shown, asked)
        caption = (
            "Layer 0: embeddings. Screening by least squares on the dev part of the training "
            "split, best pooling of each layer, mean over seeds, by which the layer is chosen "
            "before the reported split is read; so not the reported score."
        )
        if len(shown) < len(entries) or len(asked) < len(columns):
            parts = []
            if len(shown) < len(entries):
                parts.append(f"{len(shown)} of {len(entries)} rows, those that rank highest")
            if len(asked) < len(columns):
                parts.append(f"{len(asked)} of {len(columns)} tasks")
            caption += f" Shown are {' and '.join(parts)}; all are in {name}.csv."
        best = data.loc[data.groupby(["display_name", "column"])["score"].idxmax()]
        layer = best.groupby("display_name")["layer"].median()
        alt = "Scores by layer. The best layer, median over tasks: "
        alt += listing([f"{short_text(n)} {layer[n]:g}" for n in shown], 12) + "."
        return figures.finish(canvas, name, "Scores by layer", caption, alt, data)


def _leaders(kinds: Mapping[str, str], data: pd.DataFrame) -> list[str]:
    """As many rows as there are lines, by mean rank of their best layers; one is the control."""
    best = data.groupby(["column", "display_name"])["score"].max().unstack()
    ranked = best.rank(axis=1, ascending=False).mean().sort_values(kind="stable").index
    controls = [e for e, kind in kinds.items() if kind == "untrained" and e in ranked][:1]
    first = [name for name in ranked if name not in controls][: MOST_LINES - len(controls)]
    return [entry for entry in kinds if entry in {*first, *controls}]


def _draw_layers(data: pd.DataFrame, shown: list[str], asked: list[str]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    look = dict(zip(shown, zip(SERIES, MARKERS, strict=True), strict=False))
    lines = -(-len(shown) // 4)
    margins = (0.35, 0.62 + 0.19 * lines)
    canvas, axes = figures.panels(len(asked), 4, (1.75, 1.4), 0.55, (0.42, 0.72), margins)
    for index, (column, ax) in enumerate(zip(asked, axes, strict=True)):
        own = data[(data["column"] == column) & data["display_name"].isin(shown)]
        for entry, (color, marker) in look.items():
            line = own[own["display_name"] == entry]
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
        Line2D([], [], color=c, marker=m, markersize=4.5, linewidth=1.1, label=short_text(entry))
        for entry, (c, m) in look.items()
    ]
    figures.legend_below(canvas, handles)
    return canvas
