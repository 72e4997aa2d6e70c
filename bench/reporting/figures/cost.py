"""The figure of what a score costs: tokens, predictions, FLOPs and seconds side by side.

All four, whichever the budget was given in, because objectives that spend the same of one spend
very different amounts of another; a front on a single axis would hide that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style as figures
from bench.reporting.figures.data import AXES, Numbers
from bench.reporting.figures.style import FAINT, MARKERS, PAPER, SERIES, Figure, short_text
from bench.reporting.formatting import listing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_NAMED = 12
"""Points of the cost figure that are named; of more, those on the front."""


def costs(numbers: Numbers, score: str, name: str = "cost") -> Figure:
    """A score against all four costs, with the front of what nothing else beats.

    Args:
        numbers: From `frames.costs`; the untrained encoder's row is drawn as a line.
        score: What the score is.
        name: Stem of the files.
    """
    points = numbers.frame()
    trained = points[points["kind"] == "trained"].reset_index(drop=True)
    fronts = {axis: pareto_front(trained[axis].tolist(), trained["mean"].tolist()) for axis in AXES}
    on_front = sorted({place for front in fronts.values() for place in front})
    named = range(len(trained)) if len(trained) <= MOST_NAMED else on_front[:MOST_NAMED]
    look = {
        place: (SERIES[i % len(SERIES)], MARKERS[(i + i // len(SERIES)) % len(MARKERS)])
        for i, place in enumerate(named)
    }
    with figures.style():
        canvas = _draw_costs(points, trained, fronts, look, score)
        caption = (
            "Mean cost of one pretraining; an axis on which all spent the same is spread out. "
            "Vertical lines: 95 % intervals, cut at the edge. Grey steps: the Pareto front by the "
            "means, on which nothing scores higher for less; neighbours on it may well be "
            "inseparable. Dashed: the untrained encoder."
        )
        if len(look) < len(trained):
            caption += f" Named are {len(look)} of {len(trained)} rows, those on a front."
        alt = f"{score} against cost. " + " ".join(
            f"Front for {AXES[axis]}: "
            f"{listing([short_text(str(trained['display_name'][i])) for i in front], 8)}."
            for axis, front in fronts.items()
        )
        return figures.finish(canvas, name, "Score against cost", caption, alt, points)


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of what nothing beats: cheaper first, each scoring higher than all that cost less."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if not front or scores[index] > scores[front[-1]]:
            front.append(index)
    return front


def _draw_costs(
    points: pd.DataFrame,
    trained: pd.DataFrame,
    fronts: dict[str, list[int]],
    look: dict[int, tuple[str, str]],
    score: str,
) -> Any:
    from matplotlib.lines import Line2D

    margins = (0.2, 0.62 + 0.19 * -(-len(look) // 4))
    canvas, axes = figures.panels(4, 2, (3.6, 1.9), 0.65, (0.6, 0.6), margins)
    for ax, (axis, unit) in zip(axes, AXES.items(), strict=True):
        _cost_panel(ax, trained, axis, fronts[axis], look)
        for level in points["mean"][points["kind"] == "untrained"]:
            ax.axhline(level, color=FAINT, linestyle=(0, (3, 2)), linewidth=0.9)
        ax.set_ylim(*figures.view(points["mean"], points["low"], points["high"]))
        ax.set(xlabel=unit, ylabel=score if axis in ("tokens", "flops") else "")
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=5, linestyle="",
               label=short_text(str(trained["display_name"][place])))
        for place, (color, marker) in look.items()
    ]  # fmt: skip
    figures.legend_below(canvas, handles)
    return canvas


def _cost_panel(
    ax: Axes, points: pd.DataFrame, axis: str, front: list[int], look: dict[int, tuple[str, str]]
) -> None:
    import seaborn as sns
    from matplotlib.ticker import EngFormatter, MaxNLocator

    x, y = points[axis].to_numpy(dtype=float), points["mean"].to_numpy(dtype=float)
    is_even = len(x) > 0 and x.max() - x.min() <= 0.02 * x.max()
    if is_even:
        shown, middle = x.mean() * (1 + 0.01 * _spread(len(x))), x.mean()
        ax.set_xticks([middle], [f"{EngFormatter(places=1, sep='')(middle)}, spent by all"])
        ax.set_xlim(middle * 0.985, middle * 1.015)
    else:
        shown = x
        ax.plot(x[front], y[front], color=FAINT, linewidth=1, drawstyle="steps-post", zorder=1)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    named, others = list(look), [place for place in range(len(x)) if place not in look]
    low, high = points["low"].to_numpy(dtype=float), points["high"].to_numpy(dtype=float)
    colors = [look[place][0] for place in named]
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
        markers={place: marker for place, (_, marker) in look.items()},
    )  # fmt: skip


def _spread(count: int) -> Any:
    """Evenly from -1 to 1."""
    import numpy as np

    return np.linspace(-1, 1, count) if count > 1 else np.zeros(count)
