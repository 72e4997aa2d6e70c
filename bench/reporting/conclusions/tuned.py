"""The choices of equal tuning, their cost, and the orders of objectives that they reverse."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.reporting.formatting import big_number, decimal, listing, quoted
from bench.reporting.table import Row, Table
from bench.settings import sha256_json


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
    """The ranks in both tables, over all tasks or on the first one, and each reversed pair."""
    means = [_means(table) for table in (tuned, shared)]
    common = [name for name in means[1] if name in means[0]]
    if len(common) < 2:
        return None
    orders = [sorted(common, key=lambda name: -one[name]) for one in means]
    reversed_pairs = [
        f"{quoted(a)} and {quoted(b)} (shared {decimal(means[1][a] - means[1][b], sign='+')}, "
        f"tuned {decimal(means[0][a] - means[0][b], sign='+')})"
        for a, b in itertools.combinations(common, 2)
        if (means[0][a] - means[0][b]) * (means[1][a] - means[1][b]) < 0
    ]
    text = (
        f"ranks with shared settings: {' > '.join(map(quoted, orders[1]))}; with tuned settings: "
        f"{' > '.join(map(quoted, orders[0]))}. "
    )
    if not reversed_pairs:
        return text + "Tuning reverses no pair"
    return text + f"Reversed by tuning: {'; '.join(reversed_pairs)}"


def _means(table: Table) -> dict[str, float]:
    """Objective -> mean in points, by its name without settings where that is one row's alone."""
    native = [row for row in table.rows if row.is_ranked and row.attention == "native"]
    count = Counter(row.objective for row in native)
    names = {row.name: row.objective if count[row.objective] == 1 else row.name for row in native}
    if table.aggregates:
        one = table.aggregates[0]
        return {
            names[row.name]: 100 * one.of(row.name)[0].mean
            for row in native
            if row.name in one.rows
        }
    if not table.columns:
        return {}
    column = table.columns[0]
    return {
        names[row.name]: interval.mean * table.scale(column)
        for row in native
        if (interval := table.cells[row.name, column.name].interval) is not None
    }
