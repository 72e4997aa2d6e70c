"""Which tasks and which objectives of a table are put together, and why the others are not.

One question a task, its headline reading; the whole table first, then each suite that is a part of
it. Nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.reporting.table import Column, Row, Table
from bench.statistics.aggregate import Aggregate, Task, aggregated

ALL = "all tasks"


def aggregates_of(table: Table, suites: Mapping[str, Sequence[str]]) -> list[Aggregate]:
    """Aggregates over all tasks of a table and over its suites; none of fewer than two tasks.

    Args:
        table: Is asked for its cells.
        suites: Name -> tasks, as far as they are known.
    """
    if sum(row.kind == "trained" for row in table.rows) < 2:
        return []
    columns, left_out = _questions(table)
    rows, lacking = _answerers(table, columns)
    families = {ALL: {column.task for column in columns}}
    present = {column.task for column in table.columns}
    for name in sorted(suites):
        if not present <= {*suites[name]}:
            families[name] = {*suites[name]} & families[ALL]
    found = []
    for name, tasks in families.items():
        asked = [column for column in columns if column.task in tasks]
        members = rows if name == ALL else _answerers(table, asked)[0]
        reasons = left_out | lacking if name == ALL else {}
        if len(asked) > 1 and sum(row.kind == "trained" for row in members) > 1:
            found.append(_aggregate(name, table, asked, members, reasons))
    return found


def _questions(table: Table) -> tuple[list[Column], dict[str, str]]:
    """The columns that count, and why others do not."""
    kept: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for column in table.columns:
        reason = _fault(table, column)
        if column.is_headline and column.task not in kept:
            if reason is None:
                kept[column.task] = column
            else:
                left_out[column.name] = reason
    return list(kept.values()), left_out


def _fault(table: Table, column: Column) -> str | None:
    """What keeps a column out of every aggregate."""
    if column.limit is not None:
        return f"asked of {column.limit} examples at most (--limit)"
    trained = [row for row in table.rows if row.kind == "trained" and row.finished]
    cells = {row.name: table.cells[row.name, column.name] for row in trained}
    refusing = [name for name, cell in cells.items() if cell.status == "not_applicable"]
    if refusing:
        return f"does not apply to {', '.join(refusing)}"
    scored = {name: cell.interval for name, cell in cells.items() if cell.interval is not None}
    if not scored:
        return "no objective has a score"
    best = max(scored, key=lambda name: scored[name].mean)
    if column.chance is not None:
        is_above = scored[best].low > column.chance
        return None if is_above else "no objective is separably above chance"
    control = _untrained(table, column)
    if control is None:
        return "it has no chance level, and there is no untrained encoder to stand for it"
    gap = table.difference(best, control.name, column.name)
    is_above = gap is not None and gap.low > 0
    return None if is_above else "no objective is separably above the untrained encoder"


def _untrained(table: Table, column: Column) -> Row | None:
    known = [row for row in table.rows if row.kind == "untrained"]
    return next((e for e in known if table.cells[e.name, column.name].sample is not None), None)


def _answerers(table: Table, columns: Sequence[Column]) -> tuple[list[Row], dict[str, str]]:
    """The objectives that answered all of it, and what the others lack."""
    rows, lacking = [], {}
    for row in table.rows:
        if row.kind == "baseline":
            continue
        missing = [c.name for c in columns if table.cells[row.name, c.name].sample is None]
        if not missing:
            rows.append(row)
        elif not row.finished:
            lacking[row.name] = f"no run counts ({', '.join(row.excluded)})"
        else:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            lacking[row.name] = f"no score on {', '.join(missing[:3])}{more}"
    return rows, lacking


def _aggregate(
    name: str,
    table: Table,
    columns: Sequence[Column],
    rows: Sequence[Row],
    left_out: Mapping[str, str],
) -> Aggregate:
    tasks = []
    for column in columns:
        cells = [table.cells[row.name, column.name] for row in rows]
        floor = column.chance
        if floor is None:
            control = _untrained(table, column)
            places = [i for i, row in enumerate(rows) if row is control]
            if not places:
                left_out = {**left_out, column.name: "the untrained encoder lacks other scores"}
                continue
            floor = places[0]
        samples = [cell.sample for cell in cells if cell.sample is not None]
        tasks.append(Task(column.name, samples, floor))
    names = [row.name for row in rows]
    return aggregated(name, tasks, names, [e.kind == "trained" for e in rows], left_out)
