"""What a table is made of: rows and columns, and what is read off them when asked for."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from bench.records.store import RunRecord, ScoreRecord, Variant
from bench.reporting.cells import Cell, read_cells
from bench.reporting.formatting import are_readable
from bench.settings import sha256_json
from bench.statistics.aggregate import Aggregate
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import Pairs, beside, holm, paired_differences


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A row: an objective with its settings, read one way; or a control."""

    name: str
    """As shown and as `--baseline` and `--fail-if` name it: `causal, bidirectional`."""
    objective: str
    kind: Literal["trained", "untrained", "baseline"]
    runs: tuple[RunRecord, ...] = ()
    attention: str = "native"

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that count."""
        return [run for run in self.runs if run.status == "finished"]

    @property
    def excluded(self) -> dict[str, list[int]]:
        """Status -> seeds of the runs left out of every mean."""
        left_out: dict[str, list[int]] = {}
        for run in self.runs:
            if run.status != "finished":
                left_out.setdefault(run.status, []).append(run.data["seed"])
        return left_out

    @functools.cached_property
    def spent(self) -> dict[str, float]:
        """Mean costs of its pretrainings, by what they are an amount of."""
        axes = "tokens", "predictions", "flops", "seconds"
        return {axis: self.cost(lambda run, axis=axis: run["spent"][axis]) or 0.0 for axis in axes}  # type: ignore[misc]

    def cost(self, of: Callable[[dict[str, Any]], float | None]) -> float | None:
        """The mean of a figure over the runs that count (over all, where none does)."""
        figures = [of(run.data) for run in self.finished or self.runs]
        known = [figure for figure in figures if figure is not None]
        return sum(known) / len(known) if known else None


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One reading of one task."""

    name: str
    task: str
    metric_key: str | None
    metric: str
    chance: float | None
    variant: Variant
    is_headline: bool = True
    """The first of its question's metrics."""
    family: str = ""
    limit: int | None = None
    """`--limit`: the examples it was asked of at most."""

    @property
    def policy(self) -> str | None:
        """How the metric was obtained where there are several ways: `word_l2r`, `cosine`."""
        return None if self.metric_key == self.metric else self.metric_key


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Runs that may be compared with each other."""

    title: str
    comparison: str
    rows: list[Row]
    columns: list[Column]
    baseline_scores: Mapping[str, Mapping[str, ScoreRecord]]
    """By column name: what each control scored."""
    difference_to: str | None
    warnings: list[str] = dataclasses.field(default_factory=list)
    """What to know before reading a number; shown on top."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What may not be concluded from the numbers; shown below them."""
    letters: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """By row and column: two objectives share a letter where they are not separable."""
    below: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    """By row and column: objectives separably below the highest of the column."""
    detectable: dict[str, float] = dataclasses.field(default_factory=dict)
    """Column name -> the smallest gap between objectives that this very run could have seen."""
    aggregates: list[Aggregate] = dataclasses.field(default_factory=list)
    """Over all tasks, and over suites that are a part of them."""

    def difference(self, name: str, other: str, column: str) -> Interval | None:
        """The paired difference of two rows, or None where they share no seed or score."""
        return self.pairs(column).interval(self.place(name), self.place(other))

    def pairs(self, column: str) -> Pairs:
        """All paired differences of a column, in order of the rows."""
        if column not in self._pairs:
            samples = [self.cells[row.name, column].sample for row in self.rows]
            self._pairs[column] = paired_differences(samples)
        return self._pairs[column]

    def is_above(self, name: str, other: str, column: str) -> bool:
        """One is separably above another."""
        gap = self.difference(name, other, column)
        return gap is not None and gap.is_significant and gap.mean > 0

    def ranked(self, column: str) -> list[Row]:
        """The rows that have a score, the highest first."""
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
        found: dict[tuple[str, str], Cell] = {}
        answers = [_answers(row) for row in self.rows]
        absent = [next(iter(e.excluded), "missing") if not e.finished else "missing"
                  for e in self.rows]  # fmt: skip
        for column in self.columns:
            scores = [own.get(column.variant, {}) for own in answers]
            alone = self.baseline_scores[column.name]
            for place, row in enumerate(self.rows):
                if row.kind == "baseline" and row.objective in alone:
                    scores[place] = {None: alone[row.objective]}
            keys = [(row.name, column.name) for row in self.rows]
            found |= zip(keys, read_cells(scores, column, absent), strict=True)
        return found

    @functools.cached_property
    def best(self) -> dict[str, str]:
        """Column name -> the objective separably above every other, where there is one."""
        found = {}
        for column in self.columns:
            trained = [row for row in self.ranked(column.name) if row.kind == "trained"]
            rivals = [row for row in trained if row.runs != trained[0].runs]
            if rivals and all(
                self.is_above(trained[0].name, rival.name, column.name) for rival in rivals
            ):
                found[column.name] = trained[0].name
        return found

    @functools.cached_property
    def tests(self) -> dict[tuple[str, str], tuple[float, bool]]:
        """By row and column: p of the difference to the baseline, and if it stands (Holm)."""
        found: dict[tuple[str, str], tuple[float, bool]] = {}
        if self.difference_to is None or not self.columns:
            return found
        theirs, everyone = self.place(self.difference_to), range(len(self.rows))
        columns = [self.pairs(column.name).part(everyone, [theirs]) for column in self.columns]
        for row, p_row in zip(self.rows, beside(columns).p_values(), strict=True):
            if row.name != self.difference_to and row.kind != "baseline":
                stands = zip(self.columns, p_row.tolist(), holm(p_row).tolist(), strict=True)
                found |= {(row.name, column.name): (p, is_so) for column, p, is_so in stands}
        return found

    def place(self, name: str) -> int:
        """Where an row stands."""
        return self._places[name]

    def scale(self, column: Column) -> float:
        """100 where the column is shown x 100."""
        return self._scales[column.name]

    def length(self, column: Column) -> float:
        """Of the column's scale, as shown; a metric without an end has no end of it."""
        return 100.0 if self.scale(column) == 100 else math.inf

    @functools.cached_property
    def has_letters(self) -> bool:
        """Whether letters tell the groups, or there are too many of them."""
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
            scales[column.name] = 100.0 if is_share else 1.0
        return scales


def rows_of(runs: list[RunRecord], baseline: str | None) -> list[Row]:
    """The baseline, objectives as first seen, the untrained; a run's second reading follows it."""
    versions: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        made_by = [run.data["objective"], run.data["settings"]]
        code = sha256_json([*made_by, run.data["spec"].get("objective_code")])
        versions.setdefault((run.data["display_name"], code), []).append(run)
    labels = [label for label, _ in versions]
    rows = []
    for (label, code), members in versions.items():
        name = label if labels.count(label) == 1 else f"{label} #{code[:4]}"
        is_trained = any(run.data["spent"]["tokens"] > 0 for run in members)
        kind: Literal["trained", "untrained"] = "trained" if is_trained else "untrained"
        objective = members[0].data["objective"]
        rows.append(Row(name, objective, kind, tuple(members)))
        seen = {score.data["attention"] for run in members for score in run.scores}
        if "bidirectional" in seen:
            other = f"{name}, bidirectional"
            rows.append(Row(other, objective, kind, tuple(members), "bidirectional"))
    return sorted(rows, key=lambda row: (row.kind == "untrained", row.name != baseline))


def columns_of(runs: list[RunRecord], order: Sequence[str]) -> list[Column]:
    """A column for each reading of each question asked, in order of task, then as first seen."""
    asked: dict[Variant, list[ScoreRecord]] = {}
    for run in runs:
        for score in run.scores:
            if not order or score.data["task"] in order:
                asked.setdefault(score.variant, []).append(score)
    rank = {task: index for index, task in enumerate(order)}
    columns = []
    for variant in sorted(asked, key=lambda variant: rank.get(variant[0], 0)):
        metrics = list(
            dict.fromkeys(name for score in asked[variant] for name in score.data["metrics"])
        )
        data = asked[variant][0].data
        name = variant[0] + _apart(variant, [key for key in asked if key[0] == variant[0]])
        for metric_key in metrics or [None]:
            shown = f"{name} {metric_key}" if len(metrics) > 1 else name
            # The keys are policies under one metric, or the metric and others beside it, by their names.
            is_other = metric_key is not None and data["metric"] == metrics[0] != metric_key
            columns.append(
                Column(
                    name=shown,
                    task=variant[0],
                    metric_key=metric_key,
                    metric=metric_key if is_other else data["metric"],
                    chance=None if is_other else data["chance"],
                    variant=variant,
                    is_headline=metric_key in (None, metrics[0] if metrics else None),
                    family=data["family"],
                    limit=data["probe_settings"].get("limit"),
                )
            )
    return columns


def _apart(variant: Variant, siblings: list[Variant]) -> str:
    """What tells a question from others of the same task: ` (limit=100, data 1a2b3c4d)`."""
    probes = [json.loads(sibling[2]) for sibling in siblings]
    probe = json.loads(variant[2])
    parts = [
        f"{key}={probe[key]}"
        for key in probe
        if any(other.get(key) != probe[key] for other in probes)
        or (key == "limit" and probe[key] is not None)
        or (key == "probe" and probe[key] != "linear")
    ]
    for index, what in ((1, "data"), (3, "code")):
        if any(sibling[index] != variant[index] for sibling in siblings):
            parts.append(f"{what} {variant[index][:8]}")
    return f" ({', '.join(parts)})" if parts else ""


def baselines_of(column: Column, baselines: Sequence[ScoreRecord]) -> dict[str, ScoreRecord]:
    """The controls of a question: under the same probe and code, else at least on its data."""
    found: dict[str, ScoreRecord] = {}
    for score in baselines:
        variant = score.variant
        if variant == column.variant:
            found[score.data["baseline"]] = score
        elif variant[:2] == column.variant[:2]:
            found.setdefault(score.data["baseline"], score)
    return found


def _answers(row: Row) -> dict[Variant, dict[Any, ScoreRecord]]:
    """An row's scores by question and seed."""
    answers: dict[Variant, dict[Any, ScoreRecord]] = {}
    for run in row.finished:
        for score in run.scores:
            if score.data["attention"] == row.attention:
                answers.setdefault(score.variant, {})[run.data["seed"]] = score
    return answers
