"""Score over budget: which tables are points of one curve, and what crosses on it.

Tables belong together where nothing but the budget's amount differs, whether one `--curve` made
their runs or several commands did. Every point is a table of its own as well. An encoder that was
never trained is the same under any budget, so one record of it stands in all tables of a curve: it
is their point at zero.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from bench.records.store import RunRecord, Variant
from bench.reporting.cells import Cell
from bench.reporting.table import Column, Row, Table
from bench.settings import sha256_json
from bench.statistics.crossings import Search, corrected, crossings
from bench.statistics.intervals import Sample

_OWN = ("objective", "settings", "objective_code", "seed", "budget")

Question = tuple[Variant, str | None]
"""One reading of one task, under any budget."""


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Tables that differ in the budget alone."""

    tables: list[Table]
    """Of rising budgets."""

    @property
    def axis(self) -> str:
        """What the budget is an amount of."""
        return str(budget_of(self.tables[0])["axis"])

    @functools.cached_property
    def budgets(self) -> list[float]:
        """The amounts, rising."""
        return [float(budget_of(table)["amount"]) for table in self.tables]

    @functools.cached_property
    def rows(self) -> dict[str, Row]:
        """What was pretrained, by what made it, as the longest runs' table names and orders it."""
        found: dict[str, Row] = {}
        for table in reversed(self.tables):
            for row in table.rows:
                if row.kind != "baseline":
                    found.setdefault(maker_of(row), row)
        return dict(sorted(found.items(), key=lambda pair: pair[1].kind == "untrained"))

    @functools.cached_property
    def columns(self) -> dict[Question, Column]:
        """The first reading of each task, as the longest runs' table names and orders it."""
        found: dict[Question, Column] = {}
        for table in reversed(self.tables):
            for column in table.columns:
                if column.is_headline:
                    found.setdefault((column.variant, column.metric_key), column)
        return found

    @functools.cached_property
    def searches(self) -> dict[Question, Search]:
        """The crossings of each question; they name what made the runs."""
        places = range(len(self.tables))
        samples = {
            asked: [[self._sample(k, who, asked) for who in self.rows] for k in places]
            for asked in self.columns
        }
        with threadpool_limits(1, "blas"):  # the same sums on every machine, as in `comparison`
            found = [crossings([*self.rows], self.budgets, one) for one in samples.values()]
        return dict(zip(self.columns, corrected(found), strict=True))

    def scale(self, question: Question) -> float:
        """100 where every table shows it x 100."""
        asked = zip(self.tables, (columns for _, columns in self._names), strict=True)
        return min(table.scale(own[question]) for table, own in asked if question in own)

    def point(self, place: int, maker: str, question: Question) -> tuple[Row, Column] | None:
        """Row and column under one of the budgets; None where it was not run or not asked."""
        rows, columns = self._names[place]
        if maker not in rows or question not in columns:
            return None
        return rows[maker], columns[question]

    def cell(self, place: int, maker: str, question: Question) -> Cell | None:
        """What an objective got under one of the budgets."""
        point = self.point(place, maker, question)
        return None if point is None else self.tables[place].cells[point[0].name, point[1].name]

    @functools.cached_property
    def _names(self) -> list[tuple[dict[str, Row], dict[Question, Column]]]:
        return [
            (
                {maker_of(row): row for row in table.rows if row.kind != "baseline"},
                {(column.variant, column.metric_key): column for column in table.columns},
            )
            for table in self.tables
        ]

    def _sample(self, place: int, maker: str, question: Question) -> Sample | None:
        cell = self.cell(place, maker, question)
        return None if cell is None else cell.sample

    @property
    def is_halved(self) -> bool:
        """Each budget is half of the next, as `--curve` has them."""
        return [2 * budget for budget in self.budgets[:-1]] == self.budgets[1:]


def curves_of(tables: Sequence[Table]) -> list[Curve]:
    """The curves among tables: two budgets at least, under which something trained was asked."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        if any(row.kind == "trained" for row in table.rows) and table.columns:
            groups.setdefault(curve_key(_first(table).data), []).append(table)
    return [
        Curve(sorted(group, key=lambda table: float(budget_of(table)["amount"])))
        for group in groups.values()
        if len(group) > 1
    ]


def whole_command(curves: Sequence[Curve], table: Table) -> tuple[Table, str]:
    """The table to tell the command of, and what to add to it, to repeat a table's runs.

    A run at half a budget would by itself read a generated corpus of half the size.
    """
    for curve in curves:
        if curve.is_halved and table in curve.tables:
            return curve.tables[-1], f" --curve {len(curve.tables)}"
    return table, ""


def curve_key(data: Mapping[str, Any]) -> str:
    """Equal for runs that differ in objective, seed and the budget's amount at most."""
    return sha256_json([_but_budget(data), data["budget"]["axis"]])


def untrained_for(groups: Sequence[Sequence[RunRecord]]) -> list[list[RunRecord]]:
    """For each group of comparable runs, the untrained that it lacks and another budget has."""
    untrained: dict[str, dict[int, RunRecord]] = {}
    for run in (run for group in groups for run in group):
        if _is_untrained(run):
            untrained.setdefault(_but_budget(run.data), {}).setdefault(run.data["seed"], run)
    found = []
    for group in groups:
        own = {run.data["seed"] for run in group if _is_untrained(run)}
        known = untrained.get(_but_budget(group[0].data), {})
        found.append([run for seed, run in known.items() if seed not in own])
    return found


def by_curve(groups: Sequence[list[RunRecord]]) -> list[list[RunRecord]]:
    """Groups of one curve side by side, in place of the first of them, the largest budget first."""
    places: dict[str, int] = {}
    for group in groups:
        places.setdefault(curve_key(group[0].data), len(places))
    return sorted(
        groups, key=lambda g: (places[curve_key(g[0].data)], -float(g[0].data["budget"]["amount"]))
    )


def _is_untrained(run: RunRecord) -> bool:
    return run.status == "finished" and run.data["spent"]["tokens"] == 0


def _but_budget(data: Mapping[str, Any]) -> str:
    return sha256_json({key: value for key, value in data["spec"].items() if key not in _OWN})


def maker_of(row: Row) -> str:
    """Equal for the same objective with the same settings, read the same way, at any budget."""
    data = row.runs[0].data
    code = data["spec"].get("objective_code")
    return sha256_json([row.objective, data["settings"], code, row.attention])


def budget_of(table: Table) -> Mapping[str, Any]:
    """The axis and amount that the table's own runs were given."""
    found: Mapping[str, Any] = _first(table).data["budget"]
    return found


def _first(table: Table) -> RunRecord:
    """A run of the table's own: an untrained encoder of another budget comes last."""
    return next(run for row in table.rows for run in row.runs)
