"""Ladders: the same objectives at rising sizes and budgets, and whether the order holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.reporting.cells import RANGES
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

        Sorted by the share of pairs, the best predictor first.
        """
        small, large = self.tables[place], self.tables[place + 1]
        estimates: dict[str, tuple[int, Estimate]] = {}
        for name in [TOGETHER, *dict.fromkeys(c.task for c in small.columns if c.is_headline)]:
            here, there = _means(small, name), _means(large, name)
            common = [objective for objective in here if objective in there]
            if len(common) > 1:
                pairs = [np.array([side[one] for one in common]).T for side in (here, there)]
                estimates[name] = len(common), decision_accuracy(*pairs[0], *pairs[1])
        return dict(sorted(estimates.items(), key=lambda item: -item[1][1].value))

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
        """Name of a row -> its mean score at every rung, for the rows that all rungs have."""
        rungs = [_means(table, task) for table in self.tables]
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
        for column in self.tables[-1].columns:
            scores = self.scores(column.task)
            if column.is_headline and column.task not in estimates and scores:
                values = extrapolate(self.flops, np.array(list(scores.values())), self.next_flops)
                low, high = RANGES.get(column.metric, (-math.inf, math.inf))
                cut = [Estimate(*np.clip(dataclasses.astuple(one), low, high)) for one in values]
                estimates[column.task] = dict(zip(scores, cut, strict=True))
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


def _means(table: Table, task: str) -> dict[str, tuple[float, float]]:
    """Objective -> its mean and the variance of that mean, over seeds."""
    rows = [row for row in table.rows if row.is_ranked]
    if task == TOGETHER:
        if not table.aggregates:
            return {}
        one = table.aggregates[0]
        places = {name: place for place, name in enumerate(one.rows)}
        return {
            _key(row): (
                float(one.iqm[place]),
                float(one.variance.variance[place]) / max(one.seeds[place], 1),
            )
            for row in rows
            if (place := places.get(row.name)) is not None
        }
    column = next((c for c in table.columns if c.task == task and c.is_headline), None)
    if column is None:
        return {}
    means = {}
    for row in rows:
        cell = table.cells[row.name, column.name]
        if cell.interval is not None and cell.interval.seeds:
            spread = table.seed_variance(column.name, row)
            means[_key(row)] = (cell.interval.mean, spread / cell.interval.seeds)
    return means


def _key(row: Row) -> str:
    return sha256_json([row.objective, row.runs[0].data["settings"], row.attention])
