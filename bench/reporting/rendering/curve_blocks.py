"""Grids of a curve: score over budget, and the crossings.

A crossing that is significant on the side of the smaller budgets only is listed with one end,
because a larger budget could confirm it. A crossing that is significant on the other side only is
counted, not listed, because curves that are equal at first look like that about as often as not.
"""

from __future__ import annotations

import math

import numpy as np

from bench.reporting.columns import Column
from bench.reporting.curves import Curve, TaskMetric, row_key
from bench.reporting.formatting import big_number, width_legend
from bench.reporting.rendering.blocks import Block, cell_text
from bench.reporting.table import Row, Table
from bench.statistics.agreement import budget_ratio
from bench.statistics.crossings import Crossing

MAX_OPEN = 12
"""Listed crossings without an upper end."""


def curve_blocks(curve: Curve) -> list[Block]:
    """The grids of a curve, in addition to those of its tables."""
    scores, crossings = _scores_block(curve), _crossings_block(curve)
    efficiency = _efficiency_block(curve)
    others = [efficiency] if efficiency is not None else []
    if crossings.rows:
        return [scores, *others, crossings]
    scores.legend += f". Crossings: {crossings.legend}"
    return [scores, *others]


def _efficiency_block(curve: Curve) -> Block | None:
    """The share of the budget at which each objective reaches another one's final score."""
    largest = curve.tables[-1]
    ranked = [row for row in largest.rows if row.is_ranked and row.attention == "native"]
    if len(ranked) < 2:
        return None
    reference = next((row for row in ranked if row.name == largest.difference_to), ranked[0])
    grid = []
    for key, row in curve.rows.items():
        if row.kind == "trained" and row.name != reference.name:
            texts = [
                _ratio_text(curve, metric, key, row_key(reference)) for metric in curve.columns
            ]
            grid.append([row.name, *texts])
    header = ["objective", *(column.name for column in curve.columns.values())]
    legend = (
        f"share of {big_number(curve.budgets[-1])} {curve.axis} at which an objective reaches the "
        f"final score of {reference.name}, with the 95 % interval over seeds; > and a share: not "
        "reached up to that share"
    )
    return Block(f"budget to reach {reference.name}", header, grid, legend=legend)


def _ratio_text(curve: Curve, metric: TaskMetric, key: str, reference: str) -> str:
    goal = curve.point(len(curve.tables) - 1, reference, metric)
    points = [curve.point(place, key, metric) for place in range(len(curve.tables))]
    if goal is None:
        return "-"
    target = _mean_and_variance(curve.tables[-1], *goal)
    known = [
        (math.nan, math.nan) if point is None else _mean_and_variance(table, *point)
        for table, point in zip(curve.tables, points, strict=True)
    ]
    means, variances = np.array(known).T
    is_scored = np.isfinite(means)
    if math.isnan(target[0]) or not is_scored.any():
        return "-"
    ratio = budget_ratio(curve.budgets, means, variances, *target)
    shares = np.array(curve.budgets)[is_scored] / curve.budgets[-1]
    beyond = f"> {shares[-1]:.2f}" if shares[-1] < 1 else "> 1"
    if ratio is None:
        return beyond
    if ratio.value == shares[0]:
        return f"at most {ratio.value:.2f}"  # its smallest budget reaches it
    if not ratio.has_interval:
        return f"{ratio.value:.2f} (one seed)"
    high = beyond if math.isinf(ratio.high) else f"{ratio.high:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {high})"


def _mean_and_variance(table: Table, row: Row, column: Column) -> tuple[float, float]:
    """The mean over seeds, and its variance; NaN where one seed shows none."""
    interval = table.cells[row.name, column.name].interval
    if interval is None:
        return math.nan, math.nan
    return interval.mean, table.variance_of_mean(column.name, row)


def _scores_block(curve: Curve) -> Block:
    rows: list[list[str]] = []
    firsts = set()
    for metric, column in curve.columns.items():
        firsts.add(len(rows))
        for key, row in curve.rows.items():
            texts = [_text(curve, k, key, metric) for k in range(len(curve.tables))]
            if any(text != "-" for text in texts):
                rows.append([f"{column.name}: {row.name}", *texts])
    header = ["task: objective", *map(big_number, curve.budgets)]
    legend = (
        f"budgets of {big_number(curve.budgets[0])} to {big_number(curve.budgets[-1])} "
        f"{curve.axis}; each score is from complete pretrainings with that budget; mean over seeds "
        "± half the 95 % interval, in the units of the tables above"
    )
    legend += width_legend(text for texts in rows for text in texts[1:])
    rules = frozenset(firsts - {0})
    return Block(f"score over {curve.axis}", header, rows, rules=rules, legend=legend)


def _text(curve: Curve, place: int, key: str, metric: TaskMetric) -> str:
    point = curve.point(place, key, metric)
    if point is None:
        return "-"
    table = curve.tables[place]
    return cell_text(table.cells[point[0].name, point[1].name], table, point[1])


def _crossings_block(curve: Curve) -> Block:
    crossings = [
        (column.name, one)
        for metric, column in curve.columns.items()
        for one in curve.searches[metric].crossings
    ]
    shown = [pair for pair in crossings if pair[1].is_shown]
    open_ended = [pair for pair in crossings if pair[1].low is not None and pair[1].high is None]
    listed = [*shown, *open_ended[:MAX_OPEN]]
    rows = [[task, *_texts(curve, one)] for task, one in listed]
    num_other = len(crossings) - len(listed)
    num_other += sum(search.num_undecided for search in curve.searches.values())
    header = ["task", "ahead before", "ahead after", f"at {curve.axis}", "95 % interval"]
    legend = _crossings_legend(curve, bool(rows), num_other)
    bold = frozenset((place, 3) for place in range(len(shown)))
    return Block("crossings", header, rows, 3, bold=bold, legend=legend)


def _crossings_legend(curve: Curve, has_rows: bool, num_other: int) -> str:
    num_pairs = sum(search.num_pairs for search in curve.searches.values())
    legend = (
        "interpolated in log2 between budgets, paired by seed and test example; the interval "
        "contains the budgets at which the two are not significantly different. * significant "
        "before and after it, over all budgets of the curve together; ** also at 5 % over all "
        f"{num_pairs} pairs of objectives and tasks together (Holm). not bounded above: "
        "significant before it only, so no crossing is shown"
        if has_rows
        else f"none among {num_pairs} pairs of objectives and tasks"
    )
    if num_other:
        legend += (
            f". In {num_other} {'other ' if has_rows else ''}case{'s' * (num_other > 1)} the means "
            "change order, but the difference is not significant on both sides"
        )
    return legend


def _texts(curve: Curve, one: Crossing) -> list[str]:
    names = [curve.rows[one.before].name, curve.rows[one.after].name]
    if one.low is None or one.high is None:
        return [*names, "-", f"after {big_number(one.low or 0)}, not bounded above"]
    mark = "**" if one.holm else "*"
    ends = f"{big_number(one.low)} to {big_number(one.high)}"
    return [*names, f"{big_number(one.at)} {mark}", ends]
