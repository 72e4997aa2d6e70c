"""Score over budget: which tables are points of one curve, and the crossings on it.

Tables belong to one curve if they differ in nothing but the amount of the budget, whether their
runs come from one `--curve` or from several commands. Each point is also a table of its own. An
untrained encoder is the same with any budget, so one record of it appears in all tables of a curve,
as the point at zero.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from bench.records.scores import Variant
from bench.records.store import RunRecord
from bench.reporting.cells import Cell
from bench.reporting.columns import Column
from bench.reporting.table import Row, Table
from bench.settings import sha256_json
from bench.spec import without_machine
from bench.statistics.crossings import Search, correct, crossings
from bench.statistics.intervals import Sample

_VARYING = ("objective", "settings", "objective_code", "seed", "budget")

TaskMetric = tuple[Variant, str | None]
"""One metric of one task, with any budget: the variant and the metric's key."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Tables that differ in the budget only.

    Rows are identified by `row_key`, columns by `TaskMetric`, because names may differ between the
    tables.
    """

    tables: list[Table]
    """In order of rising budget."""

    @property
    def axis(self) -> str:
        """Axis of the budget: tokens, predictions, flops or seconds."""
        return str(budget_of(self.tables[0])["axis"])

    @functools.cached_property
    def budgets(self) -> list[float]:
        """The amounts, rising."""
        return [float(budget_of(table)["amount"]) for table in self.tables]

    @functools.cached_property
    def rows(self) -> dict[str, Row]:
        """The objectives, named and ordered as in the table of the largest budget."""
        rows: dict[str, Row] = {}
        for table in reversed(self.tables):
            for row in table.rows:
                if row.kind != "baseline":
                    rows.setdefault(row_key(row), row)
        return dict(sorted(rows.items(), key=lambda pair: pair[1].kind == "untrained"))

    @functools.cached_property
    def columns(self) -> dict[TaskMetric, Column]:
        """The first metric of each task, as in the table of the largest budget."""
        columns: dict[TaskMetric, Column] = {}
        for table in reversed(self.tables):
            for column in table.columns:
                if column.is_headline:
                    columns.setdefault((column.variant, column.metric_key), column)
        return columns

    @functools.cached_property
    def searches(self) -> dict[TaskMetric, Search]:
        """The crossings of each column; they name rows by `row_key`."""
        places = range(len(self.tables))
        samples = {
            metric: [[self._sample(k, key, metric) for key in self.rows] for k in places]
            for metric in self.columns
        }
        with threadpool_limits(1, "blas"):  # the same sums on every machine, as in `TableSet`
            searches = [crossings([*self.rows], self.budgets, one) for one in samples.values()]
        return dict(zip(self.columns, correct(searches), strict=True))

    def scale(self, metric: TaskMetric) -> float:
        """100 if every table shows the column x 100, else 1."""
        pairs = zip(self.tables, (columns for _, columns in self._by_key), strict=True)
        return min(table.scale(columns[metric]) for table, columns in pairs if metric in columns)

    def point(self, place: int, key: str, metric: TaskMetric) -> tuple[Row, Column] | None:
        """Row and column in one of the tables; None if the table lacks either.

        Args:
            place: Index of the table.
            key: The row, from `row_key`.
            metric: The column.
        """
        rows, columns = self._by_key[place]
        if key not in rows or metric not in columns:
            return None
        return rows[key], columns[metric]

    def cell(self, place: int, key: str, metric: TaskMetric) -> Cell | None:
        """The cell in one of the tables; the arguments are those of `point`."""
        point = self.point(place, key, metric)
        return None if point is None else self.tables[place].cells[point[0].name, point[1].name]

    @functools.cached_property
    def _by_key(self) -> list[tuple[dict[str, Row], dict[TaskMetric, Column]]]:
        return [
            (
                {row_key(row): row for row in table.rows if row.kind != "baseline"},
                {(column.variant, column.metric_key): column for column in table.columns},
            )
            for table in self.tables
        ]

    def _sample(self, place: int, key: str, metric: TaskMetric) -> Sample | None:
        cell = self.cell(place, key, metric)
        return None if cell is None else cell.sample

    @property
    def is_halved(self) -> bool:
        """Whether each budget is half of the next, as with `--curve`."""
        return [2 * budget for budget in self.budgets[:-1]] == self.budgets[1:]


def curves_of(tables: Sequence[Table]) -> list[Curve]:
    """The curves of some tables: two budgets or more with a scored, trained objective."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        if any(row.kind == "trained" for row in table.rows) and table.columns:
            groups.setdefault(curve_key(_first_run(table).data), []).append(table)
    return [
        Curve(sorted(group, key=lambda table: float(budget_of(table)["amount"])))
        for group in groups.values()
        if len({str(budget_of(table)["amount"]) for table in group}) == len(group) > 1
    ]


def whole_command(curves: Sequence[Curve], table: Table) -> tuple[Table, str]:
    """The table whose command repeats the runs of a table, and a flag to add to the command.

    A run with half a budget, if it were started alone, would read a generated corpus of half the
    size.
    """
    for curve in curves:
        if curve.is_halved and table in curve.tables:
            return curve.tables[-1], f" --curve {len(curve.tables)}"
    return table, ""


def curve_key(data: Mapping[str, Any]) -> str:
    """A hash that is equal for runs that differ in objective, seed and budget amount only."""
    return sha256_json([_without_budget(data), data["budget"]["axis"]])


def untrained_for(groups: Sequence[Sequence[RunRecord]]) -> list[list[RunRecord]]:
    """For each group of comparable runs, the untrained runs that only another budget has."""
    untrained: dict[str, dict[int, RunRecord]] = {}
    for run in (run for group in groups for run in group):
        if _is_untrained(run):
            untrained.setdefault(_without_budget(run.data), {}).setdefault(run.data["seed"], run)
    missing = []
    for group in groups:
        seeds = {run.data["seed"] for run in group if _is_untrained(run)}
        known = untrained.get(_without_budget(group[0].data), {})
        missing.append([run for seed, run in known.items() if seed not in seeds])
    return missing


def by_curve(groups: Sequence[list[RunRecord]]) -> list[list[RunRecord]]:
    """The groups, those of one curve together with the largest budget first."""
    places: dict[str, int] = {}
    for group in groups:
        places.setdefault(curve_key(group[0].data), len(places))
    return sorted(
        groups, key=lambda g: (places[curve_key(g[0].data)], -float(g[0].data["budget"]["amount"]))
    )


def _is_untrained(run: RunRecord) -> bool:
    return run.status == "finished" and run.data["spent"]["tokens"] == 0


def _without_budget(data: Mapping[str, Any]) -> str:
    spec = without_machine(data["spec"] | {"budget": data["budget"]})
    return sha256_json({key: value for key, value in spec.items() if key not in _VARYING})


def row_key(row: Row) -> str:
    """A hash that is equal for the same objective, settings and attention with any budget."""
    data = row.runs[0].data
    code = data["spec"].get("objective_code")
    return sha256_json([row.objective, data["settings"], code, row.attention])


def budget_of(table: Table) -> Mapping[str, Any]:
    """Axis and amount of the budget of a table's runs."""
    budget: Mapping[str, Any] = _first_run(table).data["budget"]
    return budget


def _first_run(table: Table) -> RunRecord:
    """A run with the table's own budget: an untrained encoder of another budget comes last."""
    return next(run for row in table.rows for run in row.runs)
