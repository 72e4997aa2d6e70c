"""The grids of a curve: score over budget, and what crosses on it.

A crossing of which only the side of the smaller budgets is separable is shown with one end, as it
says what a larger budget could settle; one of which only the other side is, is counted alone, since
curves that start out equal look like that about as often as not.
"""

from __future__ import annotations

from bench.reporting.blocks import Block, cell_text
from bench.reporting.curves import Curve, Question
from bench.reporting.formatting import big_number, width_legend
from bench.statistics.crossings import Crossing

MOST_OPEN = 12
"""Rows of crossings that are not bounded above."""


def curve_blocks(curve: Curve) -> list[Block]:
    """All that is told of a curve beyond its tables."""
    scores, crossings = _scores_block(curve), _crossings_block(curve)
    if crossings.rows:
        return [scores, crossings]
    scores.legend += f". Crossings: {crossings.legend}"
    return [scores]


def _scores_block(curve: Curve) -> Block:
    rows: list[list[str]] = []
    firsts = set()
    for question, column in curve.columns.items():
        firsts.add(len(rows))
        for maker, entry in curve.rows.items():
            texts = [_text(curve, k, maker, question) for k in range(len(curve.tables))]
            if any(text != "-" for text in texts):
                rows.append([f"{column.name}: {entry.name}", *texts])
    header = ["task: objective", *map(big_number, curve.budgets)]
    legend = (
        f"under budgets of {big_number(curve.budgets[0])} to {big_number(curve.budgets[-1])} "
        f"{curve.axis}, each a complete pretraining of its own; mean over seeds ± half the 95 % "
        "interval, in the units of the tables above"
    )
    legend += width_legend(text for row in rows for text in row[1:])
    rules = frozenset(firsts - {0})
    return Block(f"score over {curve.axis}", header, rows, rules=rules, legend=legend)


def _text(curve: Curve, place: int, maker: str, question: Question) -> str:
    point = curve.point(place, maker, question)
    if point is None:
        return "-"
    table = curve.tables[place]
    return cell_text(table.cells[point[0].name, point[1].name], table, point[1])


def _crossings_block(curve: Curve) -> Block:
    found = [
        (column.name, one)
        for question, column in curve.columns.items()
        for one in curve.searches[question].crossings
    ]
    shown = [pair for pair in found if pair[1].is_shown]
    late = [pair for pair in found if pair[1].low is not None and pair[1].high is None]
    told = [*shown, *late[:MOST_OPEN]]
    rows = [[task, *_row(curve, one)] for task, one in told]
    num_doubtful = len(found) - len(told) + sum(s.num_undecided for s in curve.searches.values())
    num_pairs = sum(search.num_pairs for search in curve.searches.values())
    header = ["task", "ahead before", "ahead after", f"at {curve.axis}", "95 % interval"]
    legend = (
        "between budgets interpolated in log2, paired by seed and test example; the interval holds "
        "the budgets at which the two are not separable. * separable before and after it, over all "
        f"budgets of the curve together; ** also at 5 % over all {num_pairs} pairs of objectives "
        "and tasks together (Holm). not bounded above: separable before it alone, so no crossing "
        "is shown"
        if rows
        else f"none among {num_pairs} pairs of objectives and tasks"
    )
    if num_doubtful:
        legend += (
            f". In {num_doubtful} {'other ' if rows else ''}case{'s' * (num_doubtful > 1)} the "
            "means change order and the difference is not separable on both sides"
        )
    bold = frozenset((place, 3) for place in range(len(shown)))
    return Block("crossings", header, rows, 3, bold=bold, legend=legend)


def _row(curve: Curve, one: Crossing) -> list[str]:
    names = [curve.rows[one.before].name, curve.rows[one.after].name]
    if one.low is None or one.high is None:
        return [*names, "-", f"after {big_number(one.low or 0)}, not bounded above"]
    mark = "**" if one.stands else "*"
    ends = f"{big_number(one.low)} to {big_number(one.high)}"
    return [*names, f"{big_number(one.at)} {mark}", ends]
