"""The forest plot: differences to the baseline row with intervals, and the cost beside.

Your own tasks come first, then those whose objectives differ most beside their seeds: of many tasks
only a few have a panel, and most tasks do not tell small encoders apart.
"""

from __future__ import annotations

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

FOREST = "forest"
"""Stem of its file names, after a prefix where there are several tables."""
MAX_PANELS = 7
"""Tasks shown beside the cost; the CSV has all of them."""
_ROW_INCHES = 0.19


def drawings(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The forest plot of a table, not drawn yet."""
    if table.columns and table.difference_to is not None:
        signal = tuple(table.signal.items())
        data = figure_data.scores(table)
        yield partial(forest, data, table.difference_to, signal, f"{prefix}{FOREST}")


def forest(
    data: FigureData,
    baseline: str,
    signal: tuple[tuple[str, float], ...] = (),
    name: str = FOREST,
) -> Figure | None:
    """The difference of each row to the baseline row, with a panel for each task.

    Returns None if no difference is known.

    Args:
        data: From `figures.data.scores`.
        baseline: The row that differences are taken to.
        signal: The signal-to-noise ratio of columns, by which tasks of one kind are ordered.
        name: Stem of the file names.
    """
    cells = data.frame()
    cells = cells[(cells["display_name"] != baseline) & cells["difference_mean"].notna()]
    if cells.empty:
        return None
    ratio = cells["column"].map(dict(signal)).fillna(0.0)
    order = ["is_own", "ratio"]
    cells = cells.assign(ratio=ratio).sort_values(order, ascending=False, kind="stable")
    columns = list(dict.fromkeys(cells["column"]))
    rows = list(dict.fromkeys(data.frame()["display_name"]))
    rows = [row for row in rows if row in set(cells["display_name"])]
    shown = columns[:MAX_PANELS]
    size = (1.75, max(0.5, _ROW_INCHES * len(rows)))
    with style.style_context():
        canvas, axes = style.make_panels(len(shown) + 1, 4, size, style.label_inches(rows))
        for index, (column, ax) in enumerate(zip(shown, axes, strict=False)):
            _draw_differences(ax, cells[cells["column"] == column], rows)
            _finish(ax, index, rows, short_text(column, 30))
        _draw_costs(axes[-1], cells, rows)
        _finish(axes[-1], len(shown), rows, "cost of one pretraining")
        caption = (
            f"Difference to {short_text(baseline)} with its 95 % interval, paired by seed and test "
            "example; your own tasks first, then by signal/noise. Filled dots: pretrained "
            "objectives; hollow diamonds: baselines. Dashed line: no difference. Bars: seconds of "
            "one pretraining."
        )
        if len(shown) < len(columns):
            caption += f" {len(columns) - len(shown)} more tasks are in {name}.csv."
        title = f"Differences to {short_text(baseline)}"
        alt = f"Forest plot of {len(rows)} rows. " + " ".join(
            _describe(cells[cells["column"] == column]) for column in shown
        )
        names = ["display_name", "kind", "column", "is_own", "seconds"]
        names += [f"difference_{key}" for key in ("mean", "low", "high", "significant")]
        numbers = cells[names].infer_objects()
        return style.to_figure(canvas, name, title, caption, alt, numbers)


def _finish(ax: Axes, index: int, rows: list[str], title: str) -> None:
    import numpy as np

    ax.set_yticks([])
    ax.set(ylim=(len(rows) - 0.4, -0.6), ylabel="")
    ax.set_title(title, loc="left")
    ax.spines["left"].set_visible(False)
    if index % 4 == 0:
        style.name_rows(ax, [short_text(row) for row in rows], 0.0)
    ends = np.repeat(np.array([ax.get_xlim()]).T, len(rows), axis=1)
    places = np.arange(len(rows))
    style.draw_lines(ax, ends, places, color=FAINT, alpha=0.25, linewidth=0.6, zorder=0)


def _draw_differences(ax: Axes, cells: pd.DataFrame, rows: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    scale = float(cells["scale"].iloc[0])
    y = cells["display_name"].map({row: index for index, row in enumerate(rows)}).to_numpy()
    mean, low, high = (
        cells[f"difference_{key}"].to_numpy(dtype=float) * scale for key in ("mean", "low", "high")
    )
    ax.axvline(0.0, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
    is_trained = (cells["kind"] == "trained").to_numpy()
    for trained, color in ((True, SERIES[0]), (False, INK)):
        chosen = is_trained == trained
        style.draw_lines(ax, [low[chosen], high[chosen]], y[chosen], color=color, linewidth=1.3)
        if chosen.any():
            ax.scatter(
                mean[chosen], y[chosen], marker="o" if trained else "D", s=30 if trained else 22,
                facecolor=color if trained else PAPER, edgecolor=color, linewidth=1.0, zorder=3,
            )  # fmt: skip
    ax.set_xlim(*style.axis_limits([*mean, 0.0], low, high))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel("points" if scale == 100 else short_text(str(cells["metric"].iloc[0]), 20))


def _draw_costs(ax: Axes, cells: pd.DataFrame, rows: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    seconds: dict[str, Any] = dict(zip(cells["display_name"], cells["seconds"], strict=True))
    values = [float(seconds[row]) for row in rows]
    ax.barh(range(len(rows)), values, height=0.55, color=FAINT)
    ax.set_xlim(0.0, max([*values, 1e-9]) * 1.05)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel("seconds")


def _describe(cells: pd.DataFrame) -> str:
    """The highest difference of a panel, in words."""
    best = cells.iloc[int(cells["difference_mean"].to_numpy(dtype=float).argmax())]
    scale = float(best["scale"])
    mean, low, high = (
        decimal(float(best[f"difference_{key}"]) * scale, sign="+")
        for key in ("mean", "low", "high")
    )
    name = short_text(best["display_name"])
    return f"{short_text(best['column'])}: {name} {mean} ({low} to {high})."
