"""Ladders: the same objectives at rising sizes and budgets, and whether the order holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.reporting.cells import RANGES
from bench.reporting.columns import Column
from bench.reporting.table import Row, Table
from bench.settings import sha256_json
from bench.statistics.agreement import Estimate, decision_accuracy, extrapolate

TOGETHER = "all tasks together"


@dataclasses.dataclass(frozen=True, eq=False)
class Ladder:
    """Tables of one corpus that differ in size and budget, rising in FLOPs."""

    tables: list[Table]

    def agreement(self, place: int) -> dict[str, tuple[int, Estimate]]:
        """Task -> number of objectives, and how well this rung predicts the order at the next.

        Sorted by the share of pairs, the best predictor first. A task whose data, probe or code
        differ between the two rungs is another task at each, so it is not among them.
        """
        small, large = self.tables[place], self.tables[place + 1]
        means = {TOGETHER: (_means_together(small), _means_together(large))}
        if self.changed(place):
            means = {}
        for task, (here, there) in self._columns(place).items():
            if here.variant == there.variant:
                means[task] = _means(small, here), _means(large, there)
        estimates: dict[str, tuple[int, Estimate]] = {}
        for name, (low, high) in means.items():
            common = [objective for objective in low if objective in high]
            if len(common) > 1:
                pairs = [np.array([side[one] for one in common]).T for side in (low, high)]
                estimates[name] = len(common), decision_accuracy(*pairs[0], *pairs[1])
        return dict(sorted(estimates.items(), key=lambda item: -item[1][1].value))

    def changed(self, place: int) -> list[str]:
        """The tasks whose data, probe or code differ between a rung and the next one."""
        pairs = self._columns(place).items()
        return [task for task, (here, there) in pairs if here.variant != there.variant]

    def _columns(self, place: int) -> dict[str, tuple[Column, Column]]:
        """Task -> its first columns at a rung and at the next one."""
        here, there = (table.headlines for table in self.tables[place : place + 2])
        return {task: (here[task], there[task]) for task in here if task in there}

    @property
    def flops(self) -> list[float]:
        """Mean FLOPs of a pretraining at each rung, rising."""
        return [_flops(table) for table in self.tables]

    @property
    def next_flops(self) -> float:
        """FLOPs of a further rung, as far above the last one as rungs are from each other."""
        flops = self.flops
        return float(flops[-1] * (flops[-1] / flops[0]) ** (1 / (len(flops) - 1)))

    def scores(self, task: str) -> dict[str, list[float]]:
        """Name of a row -> its mean score at every rung, for the rows that all rungs have.

        Empty for a task whose data, probe or code differ between rungs.
        """
        columns = [table.headlines.get(task) for table in self.tables]
        known = [column for column in columns if column is not None]
        if len(known) < len(columns) or len({column.variant for column in known}) > 1:
            return {}
        rungs = [_means(*pair) for pair in zip(self.tables, known, strict=True)]
        names = {_key(row): row.name for row in self.tables[-1].rows if row.is_ranked}
        return {
            name: [rung[key][0] for rung in rungs]
            for key, name in names.items()
            if all(key in rung for rung in rungs)
        }

    def extrapolated(self) -> dict[str, dict[str, Estimate]]:
        """Task -> row -> score at `next_flops`; empty with fewer than three rungs."""
        if len(self.tables) < 3:
            return {}
        estimates: dict[str, dict[str, Estimate]] = {}
        for task, column in self.tables[-1].headlines.items():
            scores = self.scores(task)
            if scores:
                values = extrapolate(self.flops, np.array(list(scores.values())), self.next_flops)
                low, high = RANGES.get(column.metric, (-math.inf, math.inf))
                cut = [Estimate(*np.clip(dataclasses.astuple(one), low, high)) for one in values]
                estimates[task] = dict(zip(scores, cut, strict=True))
        return estimates


def ladders_of(tables: Sequence[Table]) -> list[Ladder]:
    """The ladders among some tables: two encoders or more on one corpus, tuned alike."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        if table.columns and any(row.is_ranked for row in table.rows):
            data = _data(table)
            corpus = data["corpus"] if "corpus" in data else data["corpus_sha256"]
            key = sha256_json([corpus, data["spec"].get("tuned", [])])
            groups.setdefault(key, []).append(table)
    ladders = []
    for group in groups.values():
        group.sort(key=_flops)
        if len({_data(table)["size"] for table in group}) > 1:
            ladders.append(Ladder(group))
    return ladders


def rung_name(table: Table) -> str:
    """Size and budget of a table."""
    from bench.reporting.formatting import big_number

    data = _data(table)
    return f"{data['size']}, {big_number(data['budget']['amount'])} {data['budget']['axis']}"


def _flops(table: Table) -> float:
    costs = [row.spent["flops"] for row in table.rows if row.is_ranked]
    return sum(costs) / len(costs)


def _data(table: Table) -> dict[str, Any]:
    return next(run.data for row in table.rows for run in row.runs)


def _means(table: Table, column: Column) -> dict[str, tuple[float, float]]:
    """Objective -> its mean and the variance of that mean over seeds, NaN with one seed."""
    return {
        _key(row): (interval.mean, table.variance_of_mean(column.name, row))
        for row in table.rows
        if row.is_ranked and (interval := table.cells[row.name, column.name].interval) is not None
    }


def _means_together(table: Table) -> dict[str, tuple[float, float]]:
    """The same over all tasks that count in the table; empty if it has no aggregate."""
    one = table.aggregate()
    if one is None:
        return {}
    figures = zip(one.rows, one.iqm, one.variance.variance, one.seeds, strict=True)
    by_name = {
        name: (float(mean), float(spread) / seeds if seeds > 1 else math.nan)
        for name, mean, spread, seeds in figures
    }
    return {
        _key(row): by_name[row.name] for row in table.rows if row.is_ranked and row.name in by_name
    }


def _key(row: Row) -> str:
    return sha256_json([row.objective, row.runs[0].data["settings"], row.attention])
