"""The figure of score over budget: a row of panels for each task, with all four costs.

The same scores are plotted against tokens, predictions, FLOPs and seconds, because the leading
objective at equal cost can depend on the kind of cost: an objective that predicts at every position
has made seven times the predictions after the same number of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style
from bench.reporting.figures.data import AXES
from bench.reporting.figures.style import FAINT, INK, MARKERS, PAPER, SERIES, Figure, short_text
from bench.reporting.formatting import big_number, decimal

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bench.reporting.curves import Curve, TaskMetric

MAX_TASKS = 6
"""Maximum number of rows of panels."""
MAX_LINES = 6
"""Maximum number of lines in a panel, which is the number of colours with markers."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), "-")


def over_budget(curve: Curve, name: str = "budget") -> Figure | None:
    """Scores over the costs of pretraining; None if no objective has scores at two budgets."""
    data = points_of(curve)
    trained = data[data["kind"] == "trained"]
    if trained.groupby(["display_name", "column"])["budget"].nunique().max() < 2:
        return None
    tasks = [key for key, c in curve.columns.items() if (trained["column"] == c.name).any()]
    names = _by_rank(trained)
    lines = {row: (SERIES[i], MARKERS[i], _DASHES[i]) for i, row in enumerate(names[:MAX_LINES])}
    with style.style_context():
        canvas = _draw(curve, data, tasks[:MAX_TASKS], lines)
        caption = (
            "Each point is a complete pretraining, as the mean over seeds. Bands: 95 % intervals "
            "over seeds and test examples, cut off at the edge. Costs are on a log scale. Dotted: "
            "the untrained encoder. Dashed grey: chance. Crosses: crossings of two objectives that "
            "differ significantly on both sides, with the interval of the budget."
        )
        if len(lines) < len(names) or len(tasks) > MAX_TASKS:
            caption += (
                f" The figure shows {len(lines)} of {len(names)} objectives, those with the best "
                f"mean rank at the largest budget, and {min(len(tasks), MAX_TASKS)} of "
                f"{len(tasks)} tasks; all are in {name}.csv."
            )
        alt = " ".join(_describe(curve, task) for task in tasks[:MAX_TASKS])
        return style.to_figure(canvas, name, "Scores against four costs", caption, alt, data)


def points_of(curve: Curve) -> pd.DataFrame:
    """One row for each objective, task and budget with a score, with all four costs."""
    import pandas as pd

    rows = []
    for task, column in curve.columns.items():
        for key, row in curve.rows.items():
            for place, budget in enumerate(curve.budgets):
                cell = curve.cell(place, key, task)
                point = curve.point(place, key, task)
                if cell is None or cell.interval is None or point is None:
                    continue
                score = cell.interval
                rows.append(
                    (row.name, row.kind, column.name, column.metric, column.chance, budget,
                     score.seeds, score.mean, score.low, score.high, *point[0].spent.values())
                )  # fmt: skip
    names = ["display_name", "kind", "column", "metric", "chance", "budget", "seeds"]
    return pd.DataFrame(rows, columns=[*names, "mean", "low", "high", *AXES])


def _by_rank(trained: pd.DataFrame) -> list[str]:
    """Objectives by their mean rank over tasks, each at the largest budget that it was run with."""
    last = trained.sort_values("budget").groupby(["display_name", "column"]).tail(1)
    ranks = last.groupby("column")["mean"].rank(ascending=False)
    mean_rank = ranks.groupby(last["display_name"]).mean()
    return list(mean_rank.sort_values(kind="stable").index)


def _draw(
    curve: Curve,
    data: pd.DataFrame,
    tasks: list[TaskMetric],
    lines: dict[str, tuple[str, str, Any]],
) -> Any:
    from matplotlib.lines import Line2D

    margins = (0.35, 0.62 + 0.19 * -(-len(lines) // 4))
    canvas, axes = style.make_panels(4 * len(tasks), 4, (1.8, 1.3), 0.6, (0.18, 0.78), margins)
    for number, task in enumerate(tasks):
        column, scale = curve.columns[task], curve.scale(task)
        own = data[data["column"] == column.name]
        shown = own[own["display_name"].isin([*lines]) | (own["kind"] == "untrained")]
        limits = style.axis_limits(
            shown["mean"] * scale, shown["low"] * scale, shown["high"] * scale
        )
        for place, (axis, unit) in enumerate(AXES.items()):
            ax = axes[4 * number + place]
            _draw_panel(ax, shown, axis, scale, lines)
            if column.chance is not None:
                ax.axhline(column.chance * scale, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
            if axis == curve.axis:
                _mark_crossings(ax, curve, task, shown, scale)
            ax.set(ylim=limits, xlabel=unit, ylabel="")
            if place:
                ax.set_yticklabels([])
            else:
                times = " x 100" if scale == 100 else ""
                ax.set_ylabel(short_text(column.metric, 14) + times)
                ax.set_title(short_text(column.name, 30), loc="left")
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=4.5, linewidth=1.2, linestyle=dash,
               label=short_text(row))
        for row, (color, marker, dash) in lines.items()
    ]  # fmt: skip
    style.add_legend(canvas, handles)
    return canvas


def _draw_panel(
    ax: Axes, shown: pd.DataFrame, axis: str, scale: float, lines: dict[str, tuple[str, str, Any]]
) -> None:
    import numpy as np
    from matplotlib.ticker import NullFormatter, NullLocator

    for level in shown.loc[shown["kind"] == "untrained", "mean"].unique():
        ax.axhline(level * scale, color=INK, linestyle=(0, (1, 1.5)), linewidth=0.9)
    for row, (color, marker, dash) in lines.items():
        line = shown[shown["display_name"] == row].sort_values("budget")
        x = line[axis].to_numpy(dtype=float)
        ax.fill_between(x, line["low"] * scale, line["high"] * scale, color=color, alpha=0.13,
                        linewidth=0)  # fmt: skip
        ax.plot(x, line["mean"] * scale, color=color, marker=marker, markersize=4, linewidth=1.2,
                linestyle=dash, markeredgewidth=0)  # fmt: skip
    costs = shown.loc[shown["kind"] == "trained", axis]
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
    ax: Axes, curve: Curve, task: TaskMetric, shown: pd.DataFrame, scale: float
) -> None:
    """Draw a cross where two drawn lines meet, with the interval of the budget."""
    import numpy as np

    for crossing in curve.searches[task].crossings:
        names = [curve.rows[key].name for key in (crossing.before, crossing.after)]
        lines = [shown[shown["display_name"] == name].sort_values("budget") for name in names]
        low, high = crossing.low, crossing.high
        if low is None or high is None or any(line.empty for line in lines):
            continue
        heights = [
            np.interp(np.log2(crossing.at), np.log2(line["budget"]), line["mean"]) for line in lines
        ]
        height = float(np.mean(heights)) * scale
        ax.plot([low, high], [height] * 2, color=INK, linewidth=0.9, zorder=4)
        ax.plot(
            [crossing.at], [height], marker="X", color=INK, markersize=7, markeredgecolor=PAPER,
            zorder=5,
        )  # fmt: skip


def _describe(curve: Curve, task: TaskMetric) -> str:
    """The content of a row of panels, in words."""
    column, scale = curve.columns[task], curve.scale(task)
    sentences = []
    for place in (0, len(curve.tables) - 1):
        scores = [
            (cell.interval.mean * scale, row.name)
            for key, row in curve.rows.items()
            if row.kind == "trained"
            and (cell := curve.cell(place, key, task)) is not None
            and cell.interval is not None
        ]
        if scores:
            value, leader = max(scores)
            amount = big_number(curve.budgets[place])
            sentences.append(
                f"at {amount} {curve.axis} {short_text(leader)} is highest, {decimal(value)}"
            )
    for crossing in curve.searches[task].crossings:
        if crossing.is_shown:
            names = [short_text(curve.rows[key].name) for key in (crossing.after, crossing.before)]
            sentences.append(f"{names[0]} passes {names[1]} at {big_number(crossing.at)}")
    return f"{short_text(column.name)}: {'; '.join(sentences)}."
