"""The long form of a comparison: one record per table, row and column, for JSON, CSV and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.reporting.columns import Column
from bench.reporting.curves import Curve, budget_of
from bench.reporting.formatting import plain
from bench.reporting.table import ALL, Row, Table
from bench.reporting.table_set import TableSet
from bench.statistics.aggregate import Aggregate

_DIFFERENCE = (
    "baseline", "mean", "low", "high", "seeds", "significant", "minimum_detectable_difference",
    "p", "holm",
)  # fmt: skip
_OVERALL = ("iqm", "iqm_low", "iqm_high", "rank", "rank_low", "rank_high")


def long_form(table_set: TableSet) -> list[dict[str, Any]]:
    """One JSON object per table, row and column.

    Baselines without a score in a column have no object. `difference` and `aggregates` are nested;
    `flat` has them as columns.
    """
    crossings = _crossings(table_set.curves)
    return [
        _record(table, row, column)
        | {"crossings": crossings.get((table.comparison, row.name, column.name), [])}
        for table in table_set.tables
        for row in table.rows
        for column in table.columns
        if row.kind != "baseline" or table.cells[row.name, column.name].status != "missing"
    ]


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """A record without nesting.

    The difference becomes `difference_mean`, ...; of the aggregates, that over all tasks becomes
    `iqm`, `rank`, ...
    """
    difference = record["difference"] or dict.fromkeys(_DIFFERENCE)
    overall = record["aggregates"].get(ALL) or {}
    return {
        **{key: value for key, value in record.items() if key not in ("difference", "aggregates")},
        **{key: overall.get(key) for key in _OVERALL},
        **{f"difference_{key}": difference[key] for key in _DIFFERENCE},
    }


def _record(table: Table, row: Row, column: Column) -> dict[str, Any]:
    cell = table.cells[row.name, column.name]
    interval = cell.interval
    key = row.name, column.name
    shared = next(run.data for each in table.rows for run in each.runs)
    data = row.runs[0].data if row.runs else {"settings": {}, "parameters": {"extra": 0}}
    return {
        "comparison": table.comparison,
        "corpus": shared.get("corpus"),
        "size": shared["size"],
        "budget_axis": budget_of(table)["axis"],
        "budget": plain(budget_of(table)["amount"]),
        "objective": row.objective,
        "display_name": row.name,
        "settings": data["settings"],
        "attention": row.attention,
        "kind": row.kind,
        "task": column.task,
        "column": column.name,
        "policy": column.policy,
        "metric": column.metric,
        "chance": plain(column.chance),
        "status": cell.status,
        "mean": plain(interval.mean if interval else None),
        "low": plain(interval.low if interval else None),
        "high": plain(interval.high if interval else None),
        "seeds": interval.seeds if interval else 0,
        "examples": cell.examples,
        "limit": column.limit,
        "best": table.best.get(column.name) == row.name,
        "letters": table.letters.get(key),
        "below_best": key in table.below if key in table.letters else None,
        "minimum_detectable_difference": plain(table.detectable.get(column.name)),
        "difference": _difference(table, row, column),
        "selectivity": plain(cell.selectivity),
        **_overlaps(table, row, column),
        **{axis: plain(cost) for axis, cost in row.spent.items()},
        "tokens_per_second": plain(row.cost(lambda run: run["tokens_per_second"])),
        "extra_parameters": data["parameters"]["extra"],
        "excluded": row.excluded,
        "machine": "; ".join(row.machines) or None,
        "run_ids": [run.data["id"] for run in row.finished],
        "aggregates": {
            one.name: _aggregate(one, row.name) for one in table.aggregates if row.name in one.rows
        },
    }


def _difference(table: Table, row: Row, column: Column) -> dict[str, Any] | None:
    """The difference to the baseline, if the table has it."""
    if table.difference_to is None or table.difference_to == row.name:
        return None
    difference = table.difference(row.name, table.difference_to, column.name)
    if difference is None:
        return None
    p, is_rejected = table.tests.get((row.name, column.name), (None, None))
    return {
        "baseline": table.difference_to,
        "mean": plain(difference.mean),
        "low": plain(difference.low),
        "high": plain(difference.high),
        "seeds": difference.seeds,
        "significant": difference.is_significant,
        "minimum_detectable_difference": plain(difference.minimum_detectable_difference),
        "p": plain(p),
        "holm": is_rejected,
    }


def _overlaps(table: Table, row: Row, column: Column) -> dict[str, float | int | None]:
    overlaps = table.cells[row.name, column.name].overlap
    record: dict[str, float | int | None] = {}
    for source in ("train", "corpus"):
        overlap = overlaps.get(source)
        record[f"{source}_overlap"] = plain(overlap.share if overlap else None)
        record[f"{source}_overlap_clean_mean"] = plain(overlap.clean_value if overlap else None)
    return record


def _aggregate(aggregate: Aggregate, name: str) -> dict[str, Any]:
    iqm, rank = aggregate.of(name)
    record: dict[str, Any] = {"tasks": len(aggregate.tasks), "letters": aggregate.letters[name]}
    record["below_best"] = name in aggregate.below
    for key, interval in (("iqm", iqm), ("rank", rank)):
        ends = (None,) * 3 if interval is None else (interval.mean, interval.low, interval.high)
        record |= {
            key: plain(ends[0]),
            f"{key}_low": plain(ends[1]),
            f"{key}_high": plain(ends[2]),
        }
    return record


def _crossings(curves: Sequence[Curve]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """By table, row and column: at the last significant budget, and for both objectives."""
    crossings: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for curve in curves:
        for metric, search in curve.searches.items():
            for one in search.crossings:
                record = {
                    "ahead_before": curve.rows[one.before].name,
                    "ahead_after": curve.rows[one.after].name,
                    "at": plain(one.at),
                    "low": plain(one.low),
                    "high": plain(one.high),
                    "shown": one.is_shown,
                    "holm": one.holm,
                }
                comparison = curve.tables[one.settled].comparison
                for key in (one.before, one.after):
                    point = curve.point(one.settled, key, metric)
                    if point is not None:
                        place = comparison, point[0].name, point[1].name
                        crossings.setdefault(place, []).append(record)
    return crossings
