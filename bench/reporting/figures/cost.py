"""The figure of score against cost: tokens, predictions, FLOPs and seconds side by side.

All four costs are shown, whatever the unit of the budget: objectives with the same cost on one axis
have very different costs on another. A Pareto front on a single axis would hide that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import data as figure_data
from bench.reporting.figures import style
from bench.reporting.figures.data import AXES, FigureData
from bench.reporting.figures.style import FAINT, MARKERS, PAPER, SERIES, Drawing, Figure, short_text
from bench.reporting.formatting import listing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bench.reporting.table import Table

MAX_NAMED = 12
"""With more points than this, only points on a front are named."""


def drawings(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figure of the score over all tasks, not drawn yet. It needs the table's aggregates."""
    points, score = figure_data.costs(table)
    if any(kind == "trained" for _, kind, *_ in points.rows):
        yield partial(costs, points, score, f"{prefix}cost")


def costs(data: FigureData, score: str, name: str = "cost") -> Figure:
    """A score against all four costs, with the Pareto front of each.

    Args:
        data: From `figures.data.costs`. The untrained encoder is drawn as a line.
        score: Name of the score.
        name: Stem of the file names.
    """
    points = data.frame()
    trained = points[points["kind"] == "trained"].reset_index(drop=True)
    fronts = {axis: pareto_front(trained[axis].tolist(), trained["mean"].tolist()) for axis in AXES}
    on_front = sorted({index for front in fronts.values() for index in front})
    named = range(len(trained)) if len(trained) <= MAX_NAMED else on_front[:MAX_NAMED]
    markers = {
        index: (SERIES[i % len(SERIES)], MARKERS[(i + i // len(SERIES)) % len(MARKERS)])
        for i, index in enumerate(named)
    }
    with style.style_context():
        canvas = _draw_costs(points, trained, fronts, markers, score)
        caption = (
            "Mean cost of one pretraining. If all objectives have the same cost on an axis, the "
            "points are side by side. Vertical lines: 95 % intervals, cut off at the edge. Grey "
            "steps: the Pareto front by the means, on which no other objective scores higher at "
            "the same or a lower cost; neighbours on it may not differ significantly. Dashed line: "
            "the untrained encoder."
        )
        if len(markers) < len(trained):
            caption += f" {len(markers)} of {len(trained)} rows have names, those on a front."
        alt = f"{score} against cost. " + " ".join(
            f"Front for {AXES[axis]}: "
            f"{listing([short_text(str(trained['display_name'][i])) for i in front], 8)}."
            for axis, front in fronts.items()
        )
        return style.to_figure(canvas, name, "Score against cost", caption, alt, points)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices of the points on the front, by rising cost.

    Each scores higher than every point of lower cost.
    """
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if not front or scores[index] > scores[front[-1]]:
            front.append(index)
    return front


def _draw_costs(
    points: pd.DataFrame,
    trained: pd.DataFrame,
    fronts: dict[str, list[int]],
    markers: dict[int, tuple[str, str]],
    score: str,
) -> Any:
    from matplotlib.lines import Line2D

    margins = (0.2, 0.62 + 0.19 * -(-len(markers) // 4))
    canvas, axes = style.make_panels(4, 2, (3.6, 1.9), 0.65, (0.6, 0.6), margins)
    for ax, (axis, unit) in zip(axes, AXES.items(), strict=True):
        _draw_panel(ax, trained, axis, fronts[axis], markers)
        for level in points["mean"][points["kind"] == "untrained"]:
            ax.axhline(level, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
        ax.set_ylim(*style.axis_limits(points["mean"], points["low"], points["high"]))
        ax.set(xlabel=unit, ylabel=score if axis in ("tokens", "flops") else "")
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=5, linestyle="",
               label=short_text(str(trained["display_name"][index])))
        for index, (color, marker) in markers.items()
    ]  # fmt: skip
    style.add_legend(canvas, handles)
    return canvas


def _draw_panel(
    ax: Axes, points: pd.DataFrame, axis: str, front: list[int], markers: dict[int, tuple[str, str]]
) -> None:
    import seaborn as sns
    from matplotlib.ticker import EngFormatter, MaxNLocator

    x, y = points[axis].to_numpy(dtype=float), points["mean"].to_numpy(dtype=float)
    is_even = len(x) > 0 and x.max() - x.min() <= 0.02 * x.max()
    if is_even:
        shown, middle = x.mean() * (1 + 0.01 * _spread(len(x))), x.mean()
        ax.set_xticks([middle], [f"{EngFormatter(places=1, sep='')(middle)}, the same for all"])
        ax.set_xlim(middle * 0.985, middle * 1.015)
    else:
        shown = x
        ax.plot(x[front], y[front], color=FAINT, linewidth=1, drawstyle="steps-post", zorder=1)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    named, others = list(markers), [index for index in range(len(x)) if index not in markers]
    low, high = points["low"].to_numpy(dtype=float), points["high"].to_numpy(dtype=float)
    colors = [markers[index][0] for index in named]
    ax.vlines(shown[named], low[named], high[named], color=colors, linewidth=0.9, alpha=0.7)
    ax.vlines(shown[others], low[others], high[others], color=FAINT, linewidth=0.9, alpha=0.7)
    if others:
        ax.scatter(
            shown[others], y[others], s=16, facecolor=PAPER, edgecolor=FAINT, linewidth=0.8,
            zorder=2,
        )  # fmt: skip
    sns.scatterplot(
        x=shown[named], y=y[named], hue=named, style=named, s=34, ax=ax, zorder=3, legend=False,
        palette=dict(zip(named, colors, strict=True)),
        markers={index: marker for index, (_, marker) in markers.items()},
    )  # fmt: skip


def _spread(count: int) -> Any:
    """Numbers from -1 to 1 at equal distances."""
    import numpy as np

    return np.linspace(-1, 1, count) if count > 1 else np.zeros(count)
