"""Figures of the scores: a dot plot with intervals, and a heat map of the differences.

They draw the numbers of `bench compare` and compute no statistics. With more tasks or objectives
than a reader can distinguish, a figure shows the first ones and says so, and its CSV has all of
them: a thousand dots of one pixel would only look complete.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import data as figure_data
from bench.reporting.figures import style
from bench.reporting.figures.data import FigureData
from bench.reporting.figures.style import FAINT, INK, PAPER, SERIES, Drawing, Figure, short_text
from bench.reporting.formatting import decimal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bench.reporting.table import Table

MAX_DOTS = 320
"""Maximum of tasks x rows of the dot plot; at least 4 tasks are shown."""
MAX_NUMBERS = 800
"""A heat map with more cells than this has colours and no numbers."""
_ROW_INCHES = 0.19


def drawings(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figures of the scores of a table, not drawn yet."""
    if table.columns:
        data = figure_data.scores(table)
        yield partial(dots, data, f"{prefix}scores")
        yield partial(heat_map, data, table.difference_to, f"{prefix}heat_map")


def dots(data: FigureData, name: str = "scores") -> Figure:
    """Mean and interval of each objective on each task, with a panel for each task.

    Args:
        data: From `figures.data.scores`.
        name: Stem of the file names.
    """
    cells = data.frame()
    rows, columns = (list(dict.fromkeys(cells[key])) for key in ("display_name", "column"))
    shown = columns[: max(4, MAX_DOTS // len(rows) // 4 * 4)]
    by_column = dict(list(cells[cells["column"].isin(shown)].groupby("column")))
    size = (1.75, max(0.5, _ROW_INCHES * len(rows)))
    with style.style_context():
        canvas, axes = style.make_panels(len(shown), 4, size, style.label_inches(rows))
        for index, (column, ax) in enumerate(zip(shown, axes, strict=True)):
            _draw_dots(ax, by_column[column], rows)
            ax.set_yticks([])
            if index % 4 == 0:
                style.name_rows(ax, [short_text(row) for row in rows], 0.0)
        caption = (
            "Filled dots: means of pretrained objectives. Hollow diamonds: the untrained encoder "
            "and baselines. Horizontal lines: 95 % intervals over seeds and test examples, cut off "
            "at the edge. Ticks: single seeds. Dashed line: chance."
        )
        if len(shown) < len(columns):
            caption += (
                f" The figure shows the first {len(shown)} of {len(columns)} tasks; the others "
                f"are in the table above and in {name}.csv."
            )
        alt = (
            f"Dot plot of {len(rows)} rows on {len(shown)} tasks, each with its interval. "
            + " ".join(_describe_panel(by_column[column]) for column in shown[:12])
        )
        names = ["display_name", "kind", "column", "metric"]
        names += ["mean", "low", "high", "seeds", "chance"]
        return style.to_figure(canvas, name, "Scores by task", caption, alt, cells[names])


def _draw_dots(ax: Axes, cells: pd.DataFrame, rows: list[str]) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    column, metric, chance, scale = cells[["column", "metric", "chance", "scale"]].iloc[0]
    row_index = {row: index for index, row in enumerate(rows)}
    known = cells[cells["mean"].notna()]
    if not math.isnan(chance):
        ax.axvline(chance * scale, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
    seeds = [
        (value * scale, row_index[row])
        for row, values in zip(known["display_name"], known["values"], strict=True)
        for value in (values if len(values) > 1 else ())
    ]
    if seeds:
        x, y = np.array(seeds).T
        style.draw_lines(ax, x, [y - 0.22, y + 0.22], color=INK, linewidth=0.7, zorder=4)
    _draw_intervals(ax, known, known["display_name"].map(row_index).to_numpy(), scale)
    centers = [*(known["mean"] * scale), *([] if math.isnan(chance) else [chance * scale])]
    centers += [value for value, _ in seeds]  # no tick may lie outside
    low, high = known["low"].to_numpy() * scale, known["high"].to_numpy() * scale
    ax.set_xlim(*style.axis_limits(centers, low, high))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set(ylim=(len(rows) - 0.4, -0.6), ylabel="", xlabel=_unit(metric, scale))
    ax.set_title(short_text(column, 30), loc="left")
    ax.spines["left"].set_visible(False)
    ends = np.repeat(np.array([ax.get_xlim()]).T, len(rows), axis=1)
    style.draw_lines(
        ax, ends, np.arange(len(rows)), color=FAINT, alpha=0.25, linewidth=0.6, zorder=0
    )


def _draw_intervals(ax: Axes, known: pd.DataFrame, y: Any, scale: float) -> None:
    """Draw means and intervals, in two colours: pretrained objectives, and all other rows."""
    is_trained = (known["kind"] == "trained").to_numpy()
    low, high = known["low"].to_numpy() * scale, known["high"].to_numpy() * scale
    for trained, color in ((True, SERIES[0]), (False, INK)):
        chosen = is_trained == trained
        style.draw_lines(ax, [low[chosen], high[chosen]], y[chosen], color=color, linewidth=1.3)
        mean = known["mean"].to_numpy()[chosen] * scale
        if len(mean):
            ax.scatter(
                mean, y[chosen], marker="o" if trained else "D", s=30 if trained else 22,
                facecolor=color if trained else PAPER, edgecolor=color, linewidth=1.0, zorder=3,
            )  # fmt: skip


def _describe_panel(cells: pd.DataFrame) -> str:
    """The highest objective of a panel, in words."""
    trained = cells[(cells["kind"] == "trained") & cells["mean"].notna()]
    if trained.empty:
        return f"{short_text(cells['column'].iloc[0])}: no score."
    best = trained.iloc[int(trained["mean"].argmax())]
    claim = "significantly best" if best["best"] else "highest, not significantly best"
    if len(trained) == 1:
        claim = "the only pretrained objective"
    mean, low, high = (decimal(best[key] * best["scale"]) for key in ("mean", "low", "high"))
    name = short_text(best["display_name"])
    return f"{short_text(best['column'])}: {name} {mean} ({low} to {high}), {claim}."


def heat_map(data: FigureData, baseline: str | None, name: str = "heat_map") -> Figure | None:
    """Objectives by tasks: the difference to the baseline, or the score if there is no baseline.

    Returns None if no cell has a value.

    Args:
        data: From `figures.data.scores`.
        baseline: The row that differences are taken to.
        name: Stem of the file names.
    """
    import numpy as np

    cells = data.frame()
    picked = cells[(cells["kind"] != "baseline") & (cells["display_name"] != baseline)]
    rows, columns = (list(dict.fromkeys(picked[key])) for key in ("display_name", "column"))
    shown = picked["mean" if baseline is None else "difference_mean"] * picked["scale"]
    values = shown.to_numpy().reshape(len(rows), len(columns))
    is_significant = picked["difference_significant"].eq(True).to_numpy().reshape(values.shape)
    known = np.isfinite(values).any(axis=0)
    values, is_significant = values[:, known], is_significant[:, known]
    columns = [column for column, is_known in zip(columns, known, strict=True) if is_known]
    if not columns:
        return None
    with style.style_context():
        canvas = _draw_heat_map(values, is_significant, rows, columns, baseline)
        quantity = f"difference to {short_text(baseline)}" if baseline is not None else "score"
        caption = f"Colour and number: {quantity}, in the units of the table above."
        if baseline is not None:
            caption += " A dot marks a difference whose 95 % interval excludes zero."
        if values.size > MAX_NUMBERS:
            caption += f" There are too many cells for numbers; the numbers are in {name}.csv."
        alt = f"Heat map of the {quantity}: {len(rows)} objectives by {len(columns)} tasks. "
        if baseline is not None:
            alt += f"{int(is_significant.sum())} of {int(np.isfinite(values).sum())} differences "
            alt += "differ significantly from zero."
        differences = [f"difference_{key}" for key in ("mean", "low", "high", "significant")]
        numbers = picked[["display_name", "column", "mean"]].assign(
            baseline=baseline, **picked[differences].infer_objects()
        )
        title = f"Objectives by tasks: {quantity}"
        return style.to_figure(canvas, name, title, caption, alt, numbers)


def _draw_heat_map(
    values: Any, is_significant: Any, rows: list[str], columns: list[str], baseline: str | None
) -> Any:
    import numpy as np
    import seaborn as sns

    has_numbers = values.size <= MAX_NUMBERS
    cell = (0.52, 0.3) if has_numbers else (0.17, 0.17)
    size = (cell[0] * len(columns), cell[1] * max(len(rows), 1))
    top = 0.35 + 0.062 * max((len(short_text(column, 34)) for column in columns), default=0)
    left = style.label_inches(rows)
    canvas, (ax,) = style.make_panels(1, 1, (size[0] + 0.8, size[1]), left, margins=(top, 0.15))
    width, height = canvas.get_size_inches()
    bar_height = min(1.6, size[1])
    ax.set_position((left / width, 0.15 / height, size[0] / width, size[1] / height))
    bar = ((left + size[0] + 0.15) / width, (0.15 + size[1] - bar_height) / height)
    sns.heatmap(  # names are added below: seaborn's labels search for free space, which is slow
        values, annot=_cell_texts(values, is_significant, baseline) if has_numbers else None,
        fmt="", ax=ax, linewidths=0.6, linecolor=PAPER, annot_kws={"size": 7.5},
        cbar_ax=canvas.add_axes((*bar, 0.13 / width, bar_height / height)),
        xticklabels=False, yticklabels=False, rasterized=not has_numbers,
        **_color_scale(values, baseline),
    )  # fmt: skip
    _set_text_colors(ax)
    if not has_numbers:
        y, x = np.nonzero(is_significant)
        ax.plot(x + 0.5, y + 0.5, ".", color=INK, markersize=2)
    style.name_columns(ax, [short_text(column, 34) for column in columns], 0.5)
    style.name_rows(ax, [short_text(row) for row in rows], 0.5)
    return canvas


def _color_scale(values: Any, baseline: str | None) -> dict[str, Any]:
    """Differences have a diverging colour map, symmetric around zero; scores a sequential one."""
    import numpy as np

    if baseline is None:
        return {"cmap": "cividis"}
    extreme = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    return {"vmin": -extreme, "vmax": extreme, "cmap": "PuOr"}


def _cell_texts(values: Any, is_significant: Any, baseline: str | None) -> Any:
    import numpy as np

    texts = np.full(values.shape, "", dtype=object)
    sign = "+" if baseline is not None else ""
    for cell in zip(*np.nonzero(np.isfinite(values)), strict=True):
        dot = "\u2022" if is_significant[cell] else ""
        texts[cell] = decimal(values[cell], sign=sign) + dot
    return texts


def _set_text_colors(ax: Axes) -> None:
    """Write each number in black or white, whichever has more contrast (WCAG 2.2, 1.4.3)."""
    import numpy as np

    if not ax.texts:
        return
    cells: Any = ax.collections[0]
    has_text = ~np.ma.getmaskarray(cells.get_array()).ravel()
    background = np.asarray(cells.get_facecolors())[has_text, :3]
    linear = np.where(
        background <= 0.04045, background / 12.92, ((background + 0.055) / 1.055) ** 2.4
    )
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    is_light = luminance > np.sqrt(1.05 * 0.05) - 0.05
    for text, light in zip(ax.texts, is_light, strict=True):
        text.set_color("black" if light else "white")


def _unit(metric: str, scale: float) -> str:
    return short_text(metric, 20) + (" x 100" if scale == 100 else "")
