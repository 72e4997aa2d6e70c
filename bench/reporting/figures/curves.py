"""The figure of score over budget: a row a task, and all four costs side by side.

The same scores stand against tokens, predictions, FLOPs and seconds, because which objective leads
at equal cost may depend on what is counted: one that predicts at every position has made seven
times the predictions after as many tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style as figures
from bench.reporting.figures.data import AXES
from bench.reporting.figures.style import FAINT, INK, MARKERS, PAPER, SERIES, Figure, short_text
from bench.reporting.formatting import big_number, decimal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bench.reporting.curves import Curve, Question

MOST_TASKS = 6
"""Rows of panels."""
MOST_LINES = 6
"""Lines of a panel: as many as there are colours with markers."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), "-")


def over_budget(curve: Curve, name: str = "budget") -> Figure | None:
    """Scores over what they cost; None where fewer than two points are known."""
    data = points_of(curve)
    trained = data[data["kind"] == "trained"]
    if trained.groupby(["display_name", "column"])["budget"].nunique().max() < 2:
        return None
    asked = [q for q, c in curve.columns.items() if (trained["column"] == c.name).any()]
    names = _leaders(trained)
    look = {
        entry: (SERIES[i], MARKERS[i], _DASHES[i]) for i, entry in enumerate(names[:MOST_LINES])
    }
    with figures.style():
        canvas = _draw(curve, data, asked[:MOST_TASKS], look)
        caption = (
            "Each point a complete pretraining, mean over seeds; bands: 95 % intervals over seeds "
            "and test examples, cut at the edge. Costs are on a log scale. Dotted: the untrained "
            "encoder; dashed grey: chance. Crosses: where two cross, separably on both sides, with "
            "the interval of the budget."
        )
        if len(look) < len(names) or len(asked) > MOST_TASKS:
            caption += (
                f" {len(look)} of {len(names)} objectives, those that rank highest under the "
                f"largest budget, and {min(len(asked), MOST_TASKS)} of {len(asked)} tasks; all are "
                f"in {name}.csv."
            )
        alt = " ".join(_said(curve, question) for question in asked[:MOST_TASKS])
        title = "Score over budget"
        return figures.finish(canvas, name, title, caption, alt, data)


def points_of(curve: Curve) -> pd.DataFrame:
    """A row for each objective, task and budget that has a score, with all four costs."""
    import pandas as pd

    rows = []
    for question, column in curve.columns.items():
        for maker, entry in curve.rows.items():
            for place, budget in enumerate(curve.budgets):
                cell = curve.cell(place, maker, question)
                point = curve.point(place, maker, question)
                if cell is None or cell.interval is None or point is None:
                    continue
                found = cell.interval
                rows.append(
                    (entry.name, entry.kind, column.name, column.metric, column.chance, budget,
                     found.seeds, found.mean, found.low, found.high, *point[0].spent.values())
                )  # fmt: skip
    keys = ["display_name", "kind", "column", "metric", "chance", "budget", "seeds"]
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", *AXES])


def _leaders(trained: pd.DataFrame) -> list[str]:
    """Objectives by their mean rank over tasks under the largest budget each was run with."""
    last = trained.sort_values("budget").groupby(["display_name", "column"]).tail(1)
    ranks = last.groupby("column")["mean"].rank(ascending=False)
    mean_rank = ranks.groupby(last["display_name"]).mean()
    return list(mean_rank.sort_values(kind="stable").index)


def _draw(
    curve: Curve, data: pd.DataFrame, asked: list[Question], look: dict[str, tuple[str, str, Any]]
) -> Any:
    from matplotlib.lines import Line2D

    margins = (0.35, 0.62 + 0.19 * -(-len(look) // 4))
    canvas, axes = figures.panels(4 * len(asked), 4, (1.8, 1.3), 0.6, (0.18, 0.78), margins)
    for row, question in enumerate(asked):
        column, scale = curve.columns[question], curve.scale(question)
        own = data[data["column"] == column.name]
        seen = own[own["display_name"].isin([*look]) | (own["kind"] == "untrained")]
        ends = figures.view(seen["mean"] * scale, seen["low"] * scale, seen["high"] * scale)
        for place, (axis, unit) in enumerate(AXES.items()):
            ax = axes[4 * row + place]
            _panel(ax, seen, axis, scale, look)
            if column.chance is not None:
                ax.axhline(column.chance * scale, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
            if axis == curve.axis:
                _mark_crossings(ax, curve, question, seen, scale)
            ax.set(ylim=ends, xlabel=unit, ylabel="")
            if place:
                ax.set_yticklabels([])
            else:
                times = " x 100" if scale == 100 else ""
                ax.set_ylabel(short_text(column.metric, 14) + times)
                ax.set_title(short_text(column.name, 30), loc="left")
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=4.5, linewidth=1.2, linestyle=dash,
               label=short_text(entry))
        for entry, (color, marker, dash) in look.items()
    ]  # fmt: skip
    figures.legend_below(canvas, handles)
    return canvas


def _panel(
    ax: Axes, seen: pd.DataFrame, axis: str, scale: float, look: dict[str, tuple[str, str, Any]]
) -> None:
    import numpy as np
    from matplotlib.ticker import NullFormatter, NullLocator

    for level in seen.loc[seen["kind"] == "untrained", "mean"].unique():
        ax.axhline(level * scale, color=INK, linestyle=(0, (1, 1.5)), linewidth=0.9)
    for entry, (color, marker, dash) in look.items():
        line = seen[seen["display_name"] == entry].sort_values("budget")
        x = line[axis].to_numpy(dtype=float)
        ax.fill_between(x, line["low"] * scale, line["high"] * scale, color=color, alpha=0.13,
                        linewidth=0)  # fmt: skip
        ax.plot(x, line["mean"] * scale, color=color, marker=marker, markersize=4, linewidth=1.2,
                linestyle=dash, markeredgewidth=0)  # fmt: skip
    costs = seen.loc[seen["kind"] == "trained", axis]
    ax.set_xscale("log", base=2)
    low, high = max(float(costs.min()), 1e-3), max(float(costs.max()), 2e-3)
    ticks = sorted({float(f"{x:.2g}") for x in costs})
    if axis != "tokens":
        ticks = sorted({float(f"{x:.0e}") for x in np.geomspace(low * 1.1, high * 0.9, 3)})
    elif len(ticks) > 4:
        ticks = ticks[::-2]
    names = [big_number(x).replace(".0", "") if x >= 1 else f"{x:g}" for x in ticks]
    ax.set_xticks(ticks, names)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())


def _mark_crossings(
    ax: Axes, curve: Curve, question: Question, seen: pd.DataFrame, scale: float
) -> None:
    """A cross where two lines that are drawn meet, with the interval of the budget."""
    import numpy as np

    for one in curve.searches[question].crossings:
        names = [curve.rows[maker].name for maker in (one.before, one.after)]
        lines = [seen[seen["display_name"] == name].sort_values("budget") for name in names]
        if one.low is None or one.high is None or any(line.empty for line in lines):
            continue
        heights = [
            np.interp(np.log2(one.at), np.log2(line["budget"]), line["mean"]) for line in lines
        ]
        height = float(np.mean(heights)) * scale
        ax.plot([one.low, one.high], [height] * 2, color=INK, linewidth=0.9, zorder=4)
        ax.plot(
            [one.at], [height], marker="X", color=INK, markersize=7, markeredgecolor=PAPER, zorder=5
        )


def _said(curve: Curve, question: Question) -> str:
    """What a row of panels says, in words."""
    column, scale = curve.columns[question], curve.scale(question)
    said = []
    for place in (0, len(curve.tables) - 1):
        found = [
            (cell.interval.mean * scale, entry.name)
            for maker, entry in curve.rows.items()
            if entry.kind == "trained"
            and (cell := curve.cell(place, maker, question)) is not None
            and cell.interval is not None
        ]
        if found:
            value, leader = max(found)
            amount = big_number(curve.budgets[place])
            said.append(
                f"at {amount} {curve.axis} {short_text(leader)} is highest, {decimal(value)}"
            )
    for one in curve.searches[question].crossings:
        if one.is_shown:
            names = [short_text(curve.rows[maker].name) for maker in (one.after, one.before)]
            said.append(f"{names[0]} passes {names[1]} at {big_number(one.at)}")
    return f"{short_text(column.name)}: {'; '.join(said)}."
