"""Which tasks and which objectives of a table are aggregated, and why others are left out.

Each task counts once, with its first metric. There is one aggregate over the whole table, one for
each suite that is a part of it, and one without the user's own labels if these are a part.
Everything that is left out is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.reporting.columns import Column
from bench.reporting.table import ALL, ALL_BUT_OWN, Row, Table
from bench.statistics.aggregate import Aggregate, TaskScores, aggregate


def aggregates_of(table: Table, suites: Mapping[str, Sequence[str]]) -> list[Aggregate]:
    """The aggregates of a table, each over two tasks or more.

    Args:
        table: The table.
        suites: Suite -> tasks.
    """
    if sum(row.is_ranked for row in table.rows) < 2:
        return []
    columns, left_out = _counted_columns(table)
    groups = {ALL: {column.task for column in columns}}
    if len({column.is_own for column in table.headlines.values()}) > 1:
        groups[ALL_BUT_OWN] = {column.task for column in columns if not column.is_own}
    scored = {column.task for column in table.columns}
    for name in sorted(suites):
        if not scored <= {*suites[name]}:
            groups[name] = {*suites[name]} & groups[ALL]
    aggregates = []
    for name, tasks in groups.items():
        chosen = [column for column in columns if column.task in tasks]
        chosen, members, reasons = _members(table, chosen)
        reasons = left_out | reasons if name in (ALL, ALL_BUT_OWN) else {}
        if len(chosen) > 1 and sum(row.is_ranked for row in members) > 1:
            aggregates.append(_aggregate(name, table, chosen, members, reasons))
    return aggregates


def _counted_columns(table: Table) -> tuple[list[Column], dict[str, str]]:
    """The columns that count, and the reasons why others do not."""
    counted: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for column in table.columns:
        if column.is_diagnostic:
            left_out[column.name] = "a diagnostic: neither end of its scale is better"
            continue
        reason = _reason_against(table, column, table.rows)
        if column.is_headline and column.task not in counted:
            if reason is None:
                counted[column.task] = column
            else:
                left_out[column.name] = reason
    return list(counted.values()), left_out


def _members(table: Table, columns: list[Column]) -> tuple[list[Column], list[Row], dict[str, str]]:
    """The columns and objectives of an aggregate, and the reasons why others are left out.

    An objective without a score in every column is left out. If the others do not reach the floor
    of a column, their distance from it is no scale, or one that turns the order round; then the
    column is left out.
    """
    left_out: dict[str, str] = {}
    while True:
        rows, incomplete = _complete_rows(table, columns)
        reasons = {column.name: _reason_against(table, column, rows) for column in columns}
        unreached = {name: reason for name, reason in reasons.items() if reason is not None}
        if not unreached:
            return columns, rows, left_out | incomplete
        left_out |= unreached
        columns = [column for column in columns if column.name not in unreached]


def _reason_against(table: Table, column: Column, rows: Sequence[Row]) -> str | None:
    """The reason why a column is left out of an aggregate of some rows, if there is one."""
    if column.limit is not None:
        return f"scored on {column.limit} examples at most (--limit)"
    trained = [row for row in rows if row.is_ranked]
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
        return None if is_above else "no objective is significantly above chance"
    untrained = _untrained(table, column)
    if untrained is None:
        return "there is neither a chance level nor an untrained encoder"
    if untrained not in rows:
        return f"{untrained.start}, which is its zero, lacks other scores"
    difference = table.difference(best, untrained.name, column.name)
    is_above = difference is not None and difference.low > 0
    return None if is_above else f"no objective is significantly above {untrained.start}"


def _untrained(table: Table, column: Column) -> Row | None:
    rows = (row for row in table.rows if row.kind == "untrained")
    return next((r for r in rows if table.cells[r.name, column.name].sample is not None), None)


def _complete_rows(table: Table, columns: Sequence[Column]) -> tuple[list[Row], dict[str, str]]:
    """The objectives with a score in every column, and what the others lack."""
    rows, incomplete = [], {}
    for row in table.rows:
        if row.kind == "baseline":
            continue
        samples = {c.name: table.cells[row.name, c.name].sample for c in columns}
        missing = [name for name, sample in samples.items() if sample is None]
        seeds = [{*sample.seeds} for sample in samples.values() if sample is not None]
        if not missing and any(seeds) and not set.intersection(*seeds):
            incomplete[row.name] = "no seed was scored on all tasks"
        elif not missing:
            rows.append(row)
        elif not row.finished:
            incomplete[row.name] = f"no run counts ({', '.join(row.excluded)})"
        else:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            incomplete[row.name] = f"no score on {', '.join(missing[:3])}{more}"
    return rows, incomplete


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
            floor = next(i for i, row in enumerate(rows) if row is _untrained(table, column))
        samples = [cell.sample for cell in cells if cell.sample is not None]
        tasks.append(TaskScores(column.name, samples, floor))
    names = [row.name for row in rows]
    is_ranked = [row.is_ranked for row in rows]
    is_moderated = table.intervals == "moderated"
    return aggregate(name, tasks, names, is_ranked, left_out, is_moderated)
