"""Tables of comparable runs: rows, columns, cells, and statistics that are computed on demand."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from bench.records.scores import ScoreRecord, Variant
from bench.records.store import NOT_LEARNED, RunRecord
from bench.reporting.cells import Cell, moderated, read_cells, with_interval
from bench.reporting.columns import IN_NATS, Column
from bench.reporting.formatting import are_readable
from bench.settings import sha256_json
from bench.statistics.aggregate import Aggregate
from bench.statistics.intervals import Interval
from bench.statistics.moderation import SeedVariance
from bench.statistics.pairwise import Pairs, concatenate, holm, paired_differences

ALL = "all tasks"
"""Name of the aggregate over all tasks."""
ALL_BUT_OWN = "all but your labels"
"""Name of the aggregate over the tasks whose labels are not the user's own."""

Intervals = Literal["moderated", "own"]
"""Whether variances between seeds are moderated (`bench.statistics.moderation`), or each cell and
each pair has its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A row of a table: an objective with its settings under one attention, or a baseline."""

    name: str
    """The name in tables, `--baseline` and `--fail-if`: `causal, bidirectional`."""
    objective: str
    kind: Literal["trained", "untrained", "baseline"]
    runs: tuple[RunRecord, ...] = ()
    attention: str = "native"
    is_public: bool = False
    """Whether it is a public encoder (`--encoder`), which no objective has to be above."""

    @property
    def is_floor(self) -> bool:
        """Whether an objective has taught something only if it is above this row."""
        return self.kind != "trained" and not self.is_public

    @property
    def is_untouched(self) -> bool:
        """Whether it is a checkpoint that was not continued: nothing is drawn, so no seed."""
        return self.kind == "untrained" and any("init" in run.data["spec"] for run in self.runs)

    @property
    def start(self) -> str:
        """The initial weights, in words, of a row that was not trained."""
        return "the checkpoint itself" if self.is_untouched else "the untrained encoder"

    @property
    def objective_name(self) -> str:
        """The display name of the objective, without what the table adds to it."""
        return str(self.runs[0].data["display_name"]) if self.runs else self.objective

    @functools.cached_property
    def finished(self) -> list[RunRecord]:
        """The runs that count; if none of them learned, those that did not are shown."""
        by_status = {
            status: [run for run in self.runs if run.status == status]
            for status in ("finished", NOT_LEARNED)
        }
        return by_status["finished"] or by_status[NOT_LEARNED]

    @property
    def is_ranked(self) -> bool:
        """Whether it is a pretrained objective of which a seed learned."""
        return self.kind == "trained" and any(run.status == "finished" for run in self.runs)

    @property
    def excluded(self) -> dict[str, list[int]]:
        """Status -> seeds of the runs that are left out of every mean."""
        left_out: dict[str, list[int]] = {}
        for run in self.runs:
            if run not in self.finished:
                left_out.setdefault(run.status, []).append(run.data["seed"])
        return left_out

    @property
    def machines(self) -> list[str]:
        """The machines of its runs, in words."""
        return list(dict.fromkeys(run.machine for run in self.runs))

    @functools.cached_property
    def spent(self) -> dict[str, float]:
        """Mean cost of one pretraining, by axis: tokens, predictions, flops, seconds."""
        axes = "tokens", "predictions", "flops", "seconds"
        return {axis: self.cost(lambda run, axis=axis: run["spent"][axis]) or 0.0 for axis in axes}  # type: ignore[misc]

    def cost(self, of: Callable[[dict[str, Any]], float | None]) -> float | None:
        """The mean of a figure over the runs that count (over all runs, if none counts)."""
        figures = [of(run.data) for run in self.finished or self.runs]
        known = [figure for figure in figures if figure is not None]
        return sum(known) / len(known) if known else None

    @functools.cached_property
    def scores(self) -> dict[Variant, dict[Any, ScoreRecord]]:
        """The scores by task variant and seed; None: an untouched checkpoint has no seed."""
        scores: dict[Variant, dict[Any, ScoreRecord]] = {}
        for run in self.finished:
            seed = None if self.is_untouched else run.data["seed"]
            for score in run.scores:
                if score.data["attention"] == self.attention:
                    scores.setdefault(score.variant, {})[seed] = score
        return scores


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Runs that are comparable with each other."""

    title: str
    comparison: str
    """Hash of everything that the runs have in common."""
    rows: list[Row]
    columns: list[Column]
    baseline_scores: Mapping[str, Mapping[str, ScoreRecord]]
    """Column name -> baseline -> score."""
    difference_to: str | None
    """Name of the row that differences are taken to."""
    intervals: Intervals = "moderated"
    warnings: list[str] = dataclasses.field(default_factory=list)
    """Shown above the table."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """Conclusions that the scores do not support; shown below the table."""
    letters: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """By row and column; objectives that share a letter are not significantly different."""
    below: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    """Row and column of the objectives significantly below the highest of the column."""
    detectable: dict[str, float] = dataclasses.field(default_factory=dict)
    """Column name -> minimum detectable difference (95 % level, 50 % power)."""
    signal: dict[str, float] = dataclasses.field(default_factory=dict)
    """Column name -> spread between objectives / spread between seeds."""
    aggregates: list[Aggregate] = dataclasses.field(default_factory=list)
    """Over all tasks, over those without the user's own, and over each suite among them."""

    def difference(self, name: str, other: str, column: str) -> Interval | None:
        """The paired difference of two rows; None without a common seed or score."""
        return self.pairs(column).interval(self.place(name), self.place(other))

    def pairs(self, column: str) -> Pairs:
        """All paired differences of a column, in the order of the rows."""
        if column not in self._pairs:
            samples = [self.cells[row.name, column].sample for row in self.rows]
            self._pairs[column] = paired_differences(samples, self._variances.get(column))
        return self._pairs[column]

    def variance_of_mean(self, column: str, row: Row) -> float:
        """The variance over seeds of a row's mean; NaN with one seed, which shows none."""
        spread = self.cells[row.name, column].spread
        if spread is None or spread.seeds == 1:
            return math.nan
        if column in self._variances:
            of_one = float(self._variances[column].variance[self.place(row.name)])
            return of_one / max(spread.seeds, 1)
        return spread.seed

    def is_above(self, name: str, other: str, column: str) -> bool:
        """Whether one row is significantly above another."""
        difference = self.difference(name, other, column)
        return difference is not None and difference.is_significant and difference.mean > 0

    def ranked(self, column: str) -> list[Row]:
        """The rows with a score, the highest first."""
        means = {
            row.name: interval.mean
            for row in self.rows
            if (interval := self.cells[row.name, column].interval) is not None
        }
        known = [row for row in self.rows if row.name in means]
        return sorted(known, key=lambda row: -means[row.name])

    @functools.cached_property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """By row name and column name.

        Raises:
            RefusedError: Outcomes on disk are damaged.
        """
        return {
            (row.name, column.name): with_interval(
                cell, place, self._variances.get(column.name), column.metric
            )
            for column in self.columns
            for place, (row, cell) in enumerate(
                zip(self.rows, self._cells_by_column[column.name], strict=True)
            )
        }

    @functools.cached_property
    def _cells_by_column(self) -> dict[str, list[Cell]]:
        """Column name -> the cells of all rows, without intervals."""
        absent = [
            next(iter(row.excluded), "missing") if not row.finished else "missing"
            for row in self.rows
        ]
        by_column: dict[str, list[Cell]] = {}
        for column in self.columns:
            scores = [row.scores.get(column.variant, {}) for row in self.rows]
            alone = self.baseline_scores[column.name]
            for place, row in enumerate(self.rows):
                if row.kind == "baseline" and row.objective in alone:
                    scores[place] = {None: alone[row.objective]}
            by_column[column.name] = read_cells(scores, column, absent)
        return by_column

    @functools.cached_property
    def _variances(self) -> dict[str, SeedVariance]:
        """Column name -> moderated variances between seeds; empty if each cell has its own."""
        if self.intervals == "own":
            return {}
        is_ranked = [row.is_ranked for row in self.rows]
        variances = moderated(list(self._cells_by_column.values()), is_ranked)
        return dict(zip(self._cells_by_column, variances, strict=True))

    @functools.cached_property
    def headlines(self) -> dict[str, Column]:
        """Task -> its first column, in the order of the columns."""
        first: dict[str, Column] = {}
        for column in self.columns:
            if column.is_headline:
                first.setdefault(column.task, column)
        return first

    @functools.cached_property
    def best(self) -> dict[str, str]:
        """Column name -> the objective significantly above every other, if there is one."""
        best = {}
        for column in self.columns:
            if column.is_diagnostic:
                continue
            trained = [row for row in self.ranked(column.name) if row.is_ranked]
            rivals = [row for row in trained if row.runs != trained[0].runs]
            if rivals and all(
                self.is_above(trained[0].name, rival.name, column.name) for rival in rivals
            ):
                best[column.name] = trained[0].name
        return best

    @functools.cached_property
    def tests(self) -> dict[tuple[str, str], tuple[float, bool]]:
        """By row and column: p of the difference to the baseline, and whether Holm rejects."""
        tests: dict[tuple[str, str], tuple[float, bool]] = {}
        if self.difference_to is None or not self.columns:
            return tests
        baseline, everyone = self.place(self.difference_to), range(len(self.rows))
        columns = [self.pairs(column.name).part(everyone, [baseline]) for column in self.columns]
        for row, p_row in zip(self.rows, concatenate(columns).p_values(), strict=True):
            if row.name != self.difference_to and row.kind != "baseline":
                results = zip(self.columns, p_row.tolist(), holm(p_row).tolist(), strict=True)
                tests |= {(row.name, column.name): (p, is_so) for column, p, is_so in results}
        return tests

    def aggregate(self, name: str = ALL) -> Aggregate | None:
        """The aggregate of that name; None if too few tasks or objectives count for it."""
        return next((one for one in self.aggregates if one.name == name), None)

    def place(self, name: str) -> int:
        """The index of a row."""
        return self._places[name]

    def scale(self, column: Column) -> float:
        """100 if the column is shown x 100, else 1."""
        return self._scales[column.name]

    def length(self, column: Column) -> float:
        """Length of the column's scale as shown; infinite for an unbounded metric."""
        return 100.0 if self.scale(column) == 100 else math.inf

    @functools.cached_property
    def has_letters(self) -> bool:
        """Whether groups are shown by letters; False if there are too many letters to read."""
        columns: dict[str, list[str]] = {}
        for (_, column), shown in self.letters.items():
            columns.setdefault(column, []).append(shown)
        overall = [list(one.letters.values()) for one in self.aggregates]
        return all(map(are_readable, [*columns.values(), *overall]))

    @functools.cached_property
    def _pairs(self) -> dict[str, Pairs]:
        return {}

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {row.name: place for place, row in enumerate(self.rows)}

    @functools.cached_property
    def _scales(self) -> dict[str, float]:
        scales = {}
        for column in self.columns:
            shown = [self.cells[row.name, column.name].interval for row in self.rows]
            values = [interval.mean for interval in shown if interval is not None]
            is_share = all(abs(value) <= 1 for value in [*values, column.chance or 0.0])
            scales[column.name] = 100.0 if is_share and column.metric not in IN_NATS else 1.0
        return scales


def rows_of(runs: list[RunRecord], baseline: str | None) -> list[Row]:
    """The rows of some runs: the baseline first, then trained objectives, then the untrained.

    A run that was scored with bidirectional attention, too, has a second row after its first. Runs
    of one display name whose code differs are rows of their own, told apart by a hash.

    Args:
        runs: Comparable runs.
        baseline: Name of the row that differences are taken to.
    """
    versions: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        identity = [run.data["objective"], run.data["settings"]]
        code = sha256_json([*identity, run.data["spec"].get("objective_code")])
        versions.setdefault((run.data["display_name"], code), []).append(run)
    names = [display_name for display_name, _ in versions]
    rows = []
    for (display_name, code), members in versions.items():
        name = display_name
        if names.count(display_name) > 1:
            name = f"{display_name} #{code[:4]}"
        is_trained = any(run.data["spent"]["tokens"] > 0 for run in members)
        kind: Literal["trained", "untrained"] = "trained" if is_trained else "untrained"
        objective = members[0].data["objective"]
        rows.append(Row(name, objective, kind, tuple(members)))
        attentions = {score.data["attention"] for run in members for score in run.scores}
        if "bidirectional" in attentions:
            other = f"{name}, bidirectional"
            rows.append(Row(other, objective, kind, tuple(members), "bidirectional"))
    return sorted(rows, key=lambda row: (row.kind == "untrained", row.name != baseline))
