"""Figures of scores: every task with its intervals, every difference at a glance.

They draw what `bench compare` computed and compute nothing of their own. Where there are more tasks
or objectives than eyes can tell apart, a figure shows the first of them, says so, and its CSV has
all: a thousand dots of a pixel each would only look complete.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style as figures
from bench.reporting.figures.data import Numbers
from bench.reporting.figures.style import FAINT, INK, PAPER, SERIES, Figure, short_text
from bench.reporting.formatting import decimal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_DOTS = 320
"""Tasks x rows of the dot plot; 4 tasks at least."""
MOST_NOTED = 800
"""Cells of a heat map with their number written in; more are only coloured."""
_ROW = 0.19


def dots(numbers: Numbers, name: str = "scores") -> Figure:
    """Every objective's mean and interval on every task, a panel a task.

    Args:
        numbers: From `frames.scores`.
        name: Stem of the files.
    """
    rows = numbers.frame()
    entries, columns = (list(dict.fromkeys(rows[key])) for key in ("display_name", "column"))
    shown = columns[: max(4, MOST_DOTS // len(entries) // 4 * 4)]
    by_column = dict(list(rows[rows["column"].isin(shown)].groupby("column")))
    size = (1.75, max(0.5, _ROW * len(entries)))
    with figures.style():
        canvas, axes = figures.panels(len(shown), 4, size, figures.room_for(entries))
        for index, (column, ax) in enumerate(zip(shown, axes, strict=True)):
            _dots_of(ax, by_column[column], entries)
            ax.set_yticks([])
            if index % 4 == 0:
                figures.name_rows(ax, [short_text(entry) for entry in entries], 0.0)
        caption = (
            "Filled dots: means of pretrained objectives; hollow diamonds: controls. Lines: 95 % "
            "intervals over seeds and test examples, cut at the edge. Ticks: single seeds. Dashed: "
            "chance."
        )
        if len(shown) < len(columns):
            caption += (
                f" The first {len(shown)} of {len(columns)} tasks; the others are in the "
                f"table above and in {name}.csv."
            )
        alt = (
            f"Dot plot of {len(entries)} rows on {len(shown)} tasks, each with its interval. "
            + " ".join(_leader(by_column[column]) for column in shown[:12])
        )
        data = rows[
            ["display_name", "kind", "column", "metric", "mean", "low", "high", "seeds", "chance"]
        ]
        return figures.finish(canvas, name, "Scores by task", caption, alt, data)


def _dots_of(ax: Axes, rows: pd.DataFrame, entries: list[str]) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    column, metric, chance, scale = rows[["column", "metric", "chance", "scale"]].iloc[0]
    place = {entry: index for index, entry in enumerate(entries)}
    known = rows[rows["mean"].notna()]
    at = known["display_name"].map(place).to_numpy()
    trained = (known["kind"] == "trained").to_numpy()
    if not math.isnan(chance):
        ax.axvline(chance * scale, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
    seeds = [
        (value * scale, place[entry])
        for entry, values in zip(known["display_name"], known["values"], strict=True)
        for value in (values if len(values) > 1 else ())
    ]
    if seeds:
        x, y = np.array(seeds).T
        figures.strokes(ax, x, [y - 0.22, y + 0.22], color=INK, linewidth=0.7, zorder=4)
    low, high = known["low"].to_numpy() * scale, known["high"].to_numpy() * scale
    for is_trained, color in ((True, SERIES[0]), (False, INK)):
        chosen = trained == is_trained
        figures.strokes(ax, [low[chosen], high[chosen]], at[chosen], color=color, linewidth=1.3)
        mean = known["mean"].to_numpy()[chosen] * scale
        if len(mean):
            ax.scatter(
                mean, at[chosen], marker="o" if is_trained else "D", s=30 if is_trained else 22,
                facecolor=color if is_trained else PAPER, edgecolor=color, linewidth=1.0, zorder=3,
            )  # fmt: skip
    centers = [*(known["mean"] * scale), *([] if math.isnan(chance) else [chance * scale])]
    ax.set_xlim(*figures.view(centers, low, high))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set(ylim=(len(entries) - 0.4, -0.6), ylabel="", xlabel=_unit(metric, scale))
    ax.set_title(short_text(column, 30), loc="left")
    ax.spines["left"].set_visible(False)
    ends = np.repeat(np.array([ax.get_xlim()]).T, len(entries), axis=1)
    figures.strokes(
        ax, ends, np.arange(len(entries)), color=FAINT, alpha=0.25, linewidth=0.6, zorder=0
    )


def _leader(rows: pd.DataFrame) -> str:
    """What a panel says, in words."""
    found = rows[(rows["kind"] == "trained") & rows["mean"].notna()]
    if found.empty:
        return f"{short_text(rows['column'].iloc[0])}: no score."
    best = found.iloc[int(found["mean"].argmax())]
    mark = "separably best" if best["best"] else "highest, not separable"
    if len(found) == 1:
        mark = "the only one pretrained"
    mean, low, high = (decimal(best[key] * best["scale"]) for key in ("mean", "low", "high"))
    name = short_text(best["display_name"])
    return f"{short_text(best['column'])}: {name} {mean} ({low} to {high}), {mark}."


def heat_map(numbers: Numbers, base: str | None, name: str = "heat_map") -> Figure | None:
    """Objectives x tasks: the difference to the baseline, or the score where there is none.

    None where there is nothing to colour.

    Args:
        numbers: From `frames.scores`.
        base: The baseline.
        name: Stem of the files.
    """
    import numpy as np

    rows = numbers.frame()
    picked = rows[(rows["kind"] != "baseline") & (rows["display_name"] != base)]
    entries, columns = (list(dict.fromkeys(picked[key])) for key in ("display_name", "column"))
    shown = picked["mean" if base is None else "difference_mean"] * picked["scale"]
    values = shown.to_numpy().reshape(len(entries), len(columns))
    is_sure = picked["difference_significant"].eq(True).to_numpy().reshape(values.shape)
    known = np.isfinite(values).any(axis=0)
    values, is_sure = values[:, known], is_sure[:, known]
    columns = [column for column, is_known in zip(columns, known, strict=True) if is_known]
    if not columns:
        return None
    with figures.style():
        canvas = _draw_heat_map(values, is_sure, entries, columns, base)
        what = f"difference to {short_text(base)}" if base is not None else "score"
        caption = f"Colour and number: {what}, in the units of the table above."
        if base is not None:
            caption += " A dot marks a difference whose 95 % interval excludes zero."
        if values.size > MOST_NOTED:
            caption += f" Too many cells for numbers: they are in {name}.csv."
        alt = f"Heat map of the {what}: {len(entries)} objectives by {len(columns)} tasks. "
        if base is not None:
            alt += f"{int(is_sure.sum())} of {int(np.isfinite(values).sum())} differences are "
            alt += "separable from zero."
        gaps = [f"difference_{key}" for key in ("mean", "low", "high", "significant")]
        data = picked[["display_name", "column", "mean"]].assign(
            baseline=base, **picked[gaps].infer_objects()
        )
        title = f"Objectives by tasks: {what}"
        return figures.finish(canvas, name, title, caption, alt, data)


def _draw_heat_map(
    values: Any, is_sure: Any, entries: list[str], columns: list[str], base: str | None
) -> Any:
    import numpy as np
    import seaborn as sns

    noted = values.size <= MOST_NOTED
    cell = (0.52, 0.3) if noted else (0.17, 0.17)
    size = (cell[0] * len(columns), cell[1] * max(len(entries), 1))
    above = 0.35 + 0.062 * max((len(short_text(column, 34)) for column in columns), default=0)
    left = figures.room_for(entries)
    canvas, (ax,) = figures.panels(1, 1, (size[0] + 0.8, size[1]), left, margins=(above, 0.15))
    extreme = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    span = {"vmin": -extreme, "vmax": extreme, "cmap": "PuOr"} if base is not None else {
        "cmap": "cividis"}  # fmt: skip
    notes = np.full(values.shape, "", dtype=object)
    for place in np.ndindex(values.shape) if noted else ():
        if np.isfinite(values[place]):
            sign = "+" if base is not None else ""
            notes[place] = decimal(values[place], sign=sign) + ("\u2022" if is_sure[place] else "")
    width, height = canvas.get_size_inches()
    tall = min(1.6, size[1])
    ax.set_position((left / width, 0.15 / height, size[0] / width, size[1] / height))
    bar = ((left + size[0] + 0.15) / width, (0.15 + size[1] - tall) / height)
    sns.heatmap(  # labels follow: its own look for room that is there
        values, annot=notes if noted else None, fmt="", ax=ax, linewidths=0.6, linecolor=PAPER,
        annot_kws={"size": 7.5}, cbar_ax=canvas.add_axes((*bar, 0.13 / width, tall / height)),
        xticklabels=False, yticklabels=False, rasterized=not noted, **span,
    )  # fmt: skip
    _ink_for_ground(ax)
    if not noted:
        y, x = np.nonzero(is_sure)
        ax.plot(x + 0.5, y + 0.5, ".", color=INK, markersize=2)
    figures.name_columns(ax, [short_text(column, 34) for column in columns], 0.5)
    figures.name_rows(ax, [short_text(entry) for entry in entries], 0.5)
    return canvas


def _ink_for_ground(ax: Axes) -> None:
    """Each cell's number in black or white, whichever has more contrast (WCAG 2.2, 1.4.3)."""
    import numpy as np

    if not ax.texts:
        return
    cells: Any = ax.collections[0]
    is_written = ~np.ma.getmaskarray(cells.get_array()).ravel()
    ground = np.asarray(cells.get_facecolors())[is_written, :3]
    linear = np.where(ground <= 0.04045, ground / 12.92, ((ground + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    is_light = luminance > np.sqrt(1.05 * 0.05) - 0.05
    for text, light in zip(ax.texts, is_light, strict=True):
        text.set_color("black" if light else "white")


def _unit(metric: str, scale: float) -> str:
    return short_text(metric, 20) + (" x 100" if scale == 100 else "")
