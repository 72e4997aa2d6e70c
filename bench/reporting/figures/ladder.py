"""The figure of a ladder: scores over FLOPs of all rungs, and the extrapolation if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.reporting.figures import style
from bench.reporting.figures.style import FAINT, MARKERS, SERIES, Figure, short_text

if TYPE_CHECKING:
    import pandas as pd

    from bench.reporting.conclusions.ladder import Ladder

MAX_TASKS, MAX_LINES = 8, 6


def over_rungs(ladder: Ladder, name: str = "ladder") -> Figure | None:
    """The scores of each rung; None if no objective has a score at every rung.

    With three rungs or more, the extrapolated score stands at the right with its 95 % prediction
    interval.
    """
    data = points_of(ladder)
    if data.empty:
        return None
    tasks, names = list(dict.fromkeys(data["task"])), list(dict.fromkeys(data["display_name"]))
    shown = names[:MAX_LINES]
    with style.style_context():
        canvas = _draw(data, tasks[:MAX_TASKS], shown)
        caption = "Means over seeds of complete pretrainings, over FLOPs on a log scale."
        if data["is_extrapolated"].any():
            caption += " Dashed: straight lines, extrapolated, with 95 % prediction intervals."
        if len(shown) < len(names) or len(tasks) > MAX_TASKS:
            caption += (
                f" The figure shows {len(shown)} of {len(names)} objectives and "
                f"{min(len(tasks), MAX_TASKS)} of {len(tasks)} tasks; all are in {name}.csv."
            )
        alt = f"Scores of {', '.join(map(short_text, shown))} at {len(ladder.tables)} rungs."
        return style.to_figure(canvas, name, "Scores over the rungs", caption, alt, data)


def points_of(ladder: Ladder) -> pd.DataFrame:
    """One row for each task, objective and rung, as shown, and for each extrapolated score."""
    import pandas as pd

    last = ladder.tables[-1]
    rows: list[tuple[Any, ...]] = []
    extrapolated = ladder.extrapolated()
    for task, column in last.headlines.items():
        by = last.scale(column)
        for name, scores in ladder.scores(task).items():
            for flops, score in zip(ladder.flops, scores, strict=True):
                rows.append((task, name, flops, score * by, None, None, False))
            end = extrapolated.get(task, {}).get(name)
            if end is not None:
                values = (end.value * by, end.low * by, end.high * by)
                rows.append((task, name, ladder.next_flops, *values, True))
    names = ["task", "display_name", "flops", "score", "low", "high", "is_extrapolated"]
    return pd.DataFrame(rows, columns=names)


def _draw(data: pd.DataFrame, tasks: list[str], names: list[str]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullLocator

    margins = (0.35, 0.62 + 0.19 * -(-len(names) // 4))
    canvas, axes = style.make_panels(len(tasks), 4, (1.8, 1.3), 0.5, (0.45, 0.78), margins)
    for task, ax in zip(tasks, axes, strict=True):
        own = data[data["task"] == task]
        for place, name in enumerate(names):
            line = own[own["display_name"] == name]
            known, end = line[~line["is_extrapolated"]], line[line["is_extrapolated"]]
            color = SERIES[place]
            ax.plot(known["flops"], known["score"], color=color, marker=MARKERS[place],
                    markersize=4, linewidth=1.2, markeredgewidth=0)  # fmt: skip
            for _, point in end.iterrows():
                ax.plot([known["flops"].iloc[-1], point["flops"]],
                        [known["score"].iloc[-1], point["score"]],
                        color=color, linewidth=1.0, linestyle=(0, (4, 2)))  # fmt: skip
                beside = point["flops"] * 1.15**place  # or the bars would cover each other
                ax.plot([beside] * 2, [point["low"], point["high"]], color=color, linewidth=1.5,
                        alpha=0.5)  # fmt: skip
        ax.set_xscale("log")
        ticks = sorted(set(own["flops"]))
        ax.set_xticks(ticks, [f"{tick:.0e}".replace("e+", "e") for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_title(short_text(task, 30), loc="left")
        ax.set_xlabel("FLOPs")
        ax.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.5)
    handles = [
        Line2D([], [], color=SERIES[i], marker=MARKERS[i], markersize=4.5, linewidth=1.2,
               label=short_text(name))
        for i, name in enumerate(names)
    ]  # fmt: skip
    style.add_legend(canvas, handles)
    return canvas
