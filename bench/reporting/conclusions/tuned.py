"""The choices of equal tuning, their cost, and the orders of objectives that they reverse."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bench.reporting.columns import Column
from bench.reporting.formatting import big_number, decimal, listing, quoted
from bench.reporting.table import Row, Table
from bench.settings import sha256_json
from bench.statistics.intervals import Interval


def trials_of(row: Row) -> dict[str, Any] | None:
    """The trials of a row; None if it was not tuned."""
    return next((run.data["tuning"] for run in row.runs if run.data.get("tuning")), None)


def trial_rows(table: Table) -> list[list[str]]:
    """Objective, chosen settings, every trial, and the cost of the trials."""
    rows = []
    for row in table.rows:
        record = trials_of(row) if row.attention == "native" else None
        if record is not None:
            is_one = len(record["settings"]) == 1
            trials = "; ".join(
                f"{text.partition('=')[2] if is_one else text}: "
                f"{'diverged' if value is None else f'{value:.3f}'}"
                for text, value in record["trials"]
            )
            cost = f"{big_number(record['tokens'])} tokens, {record['seconds']:.0f} s"
            rows.append([row.name, record["chosen"], trials, cost])
    return rows


def edge_warnings(table: Table) -> list[str]:
    """Choices at the end of a bracket: a better value may lie outside."""
    return [
        f"{row.name}: tuning chose {listing(trials['edges'])}, at the edge of what was tried; a "
        "better value may lie outside, so widen --tune"
        for row in table.rows
        if row.attention == "native" and (trials := trials_of(row)) is not None and trials["edges"]
    ]


def note_reversals(tables: Sequence[Table]) -> None:
    """Add to each tuned table how its ranks differ from those under shared settings."""
    by_rest: dict[str, list[Table]] = {}
    for table in tables:
        by_rest.setdefault(_without_training(table), []).append(table)
    for group in by_rest.values():
        tuned = [table for table in group if any(trials_of(row) for row in table.rows)]
        shared = [table for table in group if table not in tuned]
        for one, other in itertools.product(tuned, shared):
            note = _reversals(one, other)
            if note:
                one.notes.insert(0, note)


def _without_training(table: Table) -> str:
    spec = next(run.data["spec"] for row in table.rows for run in row.runs)
    varying = ("training", "tuned", "objective", "settings", "objective_code", "seed")
    return sha256_json({key: value for key, value in spec.items() if key not in varying})


def _reversals(tuned: Table, shared: Table) -> str | None:
    """The ranks in both tables, over all tasks or on one that both have, and each reversed pair.

    A pair is reversed only if it is significantly different in both tables.
    """
    orders = _orders(shared, tuned)
    if orders is None:
        return None
    before, after = orders
    common = [name for name in before.means if name in after.means]
    if len(common) < 2:
        return None
    clear: list[str] = []
    unclear: list[str] = []
    for a, b in itertools.combinations(common, 2):
        gaps = [order.means[a] - order.means[b] for order in orders]
        if gaps[0] * gaps[1] < 0:
            text = (
                f"{quoted(a)} and {quoted(b)} (shared {decimal(gaps[0], sign='+')}, "
                f"tuned {decimal(gaps[1], sign='+')})"
            )
            is_clear = all(order.is_different(a, b) for order in orders)
            (clear if is_clear else unclear).append(text)
    shown = [
        " > ".join(map(quoted, sorted(common, key=lambda name: -order.means[name])))
        for order in orders
    ]
    text = f"ranks with shared settings: {shown[0]}; with tuned settings: {shown[1]}. "
    text += f"Reversed by tuning: {'; '.join(clear)}" if clear else "Tuning reverses no pair"
    if unclear:
        text += f". In another order, but not significantly so in both: {'; '.join(unclear)}"
    return text


@dataclasses.dataclass(frozen=True)
class _Order:
    """The means of the objectives of a table, in points, and which differ significantly."""

    means: dict[str, float]
    """By the name without settings where that is one row's alone, because tuning may set one."""
    rows: dict[str, str]
    """The same name -> name of the row."""
    difference: Callable[[str, str], Interval | None]
    """Of two rows."""

    def is_different(self, a: str, b: str) -> bool:
        """Whether two objectives are significantly different."""
        difference = self.difference(self.rows[a], self.rows[b])
        return difference is not None and difference.is_significant


def _orders(*tables: Table) -> tuple[_Order, ...] | None:
    """The orders of two tables by one measure: all tasks, or the first task that both have."""
    variants = [{column.name: column.variant for column in table.columns} for table in tables]
    overall = [one for table in tables if (one := table.aggregate()) is not None]
    counted = [
        {(name, known[name]) for name in one.tasks}
        for one, known in zip(overall, variants, strict=False)
    ]
    if len(overall) == len(tables) and counted[0] == counted[1]:
        return tuple(
            _order(table, {name: 100 * one.of(name)[0].mean for name in one.rows}, one.difference)
            for table, one in zip(tables, overall, strict=True)
        )
    for columns in itertools.product(*(table.headlines.values() for table in tables)):
        keys = [(column.variant, column.metric_key) for column in columns]
        if keys[0] == keys[1]:
            pairs = list(zip(tables, columns, strict=True))
            unit = min(table.scale(column) for table, column in pairs)
            return tuple(_order_on(table, column, unit) for table, column in pairs)
    return None


def _order_on(table: Table, column: Column, unit: float) -> _Order:
    means = {
        row.name: unit * interval.mean
        for row in table.rows
        if (interval := table.cells[row.name, column.name].interval) is not None
    }
    return _order(table, means, lambda a, b: table.difference(a, b, column.name))


def _order(
    table: Table, means: dict[str, float], difference: Callable[[str, str], Interval | None]
) -> _Order:
    native = [row for row in table.rows if row.is_ranked and row.attention == "native"]
    count = Counter(row.objective for row in native)
    names = {
        row.objective if count[row.objective] == 1 else row.name: row.name
        for row in native
        if row.name in means
    }
    return _Order({name: means[row] for name, row in names.items()}, names, difference)
