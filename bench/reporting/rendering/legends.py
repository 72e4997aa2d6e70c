"""Legends of the grids of a table."""

from __future__ import annotations

from collections.abc import Iterable

from bench.reporting.formatting import BELOW, width_legend
from bench.reporting.table import Table
from bench.statistics.aggregate import Aggregate

MIN_DETECTABLE = "min. detectable"
"""Name of the last line of the score table: the minimum detectable difference."""
_MAX_TASKS = 12
"""The legend lists up to this number of tasks of an aggregate, else their number."""


def scores_legend(table: Table, is_marked: bool, texts: Iterable[str]) -> str:
    """The legend of the score table.

    Args:
        table: The table.
        is_marked: Whether a score is marked as the best of its column.
        texts: The texts of all cells.
    """
    legend = "mean over seeds ± half the 95 % interval, over seeds and test examples. "
    legend += _units(table)
    if is_marked:
        legend += ". * best: significantly different from every other objective"
    if table.letters:
        count = sum(row.kind != "baseline" for row in table.rows)
        pairs = count * (count - 1) // 2 if table.has_letters else count - 1
        each = f", {pairs} pairs, not corrected" if pairs > 1 else ""
        if table.has_letters:
            legend += ". Objectives that share a letter are not significantly different"
        elif table.below:
            legend += f". {BELOW} significantly below the highest objective"
        else:
            legend += ". No objective is significantly below the highest"
        legend += f" (paired 95 % intervals{each})"
    if any(column.chance is not None for column in table.columns):
        legend += ". chance: the best guess without context, as the most frequent label of test"
        if any(row.objective == "majority" for row in table.rows):
            legend += " (majority: that of train)"
    if table.detectable:
        legend += (
            f". {MIN_DETECTABLE}: minimum detectable difference between two objectives (95 % "
            "level, 50 % power)"
        )
    return legend + width_legend(texts)


def _units(table: Table) -> str:
    """The metrics that are shown, the most frequent one last."""
    units: dict[str, list[str]] = {}
    for column in table.columns:
        unit = column.metric + (" x 100" if table.scale(column) == 100 else "")
        units.setdefault(unit, []).append(column.name)
    *others, usual = sorted(units, key=lambda unit: len(units[unit]))
    texts = [f"{unit}: {', '.join(units[unit])}" for unit in others]
    return "; ".join([*texts, f"{usual}: all others" if others else usual])


def aggregate_legend(table: Table, texts: Iterable[str]) -> str:
    """The legend of the aggregates.

    Args:
        table: The table.
        texts: The texts of all cells.
    """
    overall = table.aggregates
    legend = (
        "mean: interquartile mean over tasks x 100, where 0 is the chance level and 100 the best "
        "objective of each task; rank: mean over tasks and seeds; ± half the 95 % interval, over "
        "seeds and test examples. "
    )
    if table.has_letters:
        legend += "Objectives that share a letter are not significantly different. "
    elif any(one.below for one in overall):
        legend += f"{BELOW} significantly below the highest objective. "
    legend += "; ".join(f"{one.name}: {_tasks_text(one)}" for one in overall)
    return legend + width_legend(texts) + _left_out(overall[0])


def _tasks_text(aggregate: Aggregate) -> str:
    count = len(aggregate.tasks)
    return ", ".join(aggregate.tasks) if count <= _MAX_TASKS else f"{count} tasks"


def _left_out(aggregate: Aggregate) -> str:
    """The parts that are left out, grouped by reason."""
    names: dict[str, list[str]] = {}
    for name, reason in aggregate.left_out.items():
        names.setdefault(reason, []).append(name)
    text = "; ".join(f"{', '.join(out)} ({reason})" for reason, out in names.items())
    return f". LEFT OUT: {text}" if text else ""
