"""Comparisons: which runs may share a table, and what may be concluded there.

Runs that differ in anything but objective, settings and seed never meet in one table: there are
then several, each headed by what sets it apart. Scores are taken to be better when higher, and
shown x 100 where they and the chance level lie within -1..1.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from bench.errors import unknown_name
from bench.records.store import RunRecord, ScoreRecord
from bench.reporting.aggregates import aggregates_of
from bench.reporting.annotations import annotate
from bench.reporting.curves import Curve, budget_of, by_curve, curves_of, untrained_for
from bench.reporting.formatting import big_number, plain
from bench.reporting.table import (
    Column,
    Row,
    Table,
    baselines_of,
    columns_of,
    rows_of,
)
from bench.statistics.aggregate import Aggregate

_CONTROL_ORDER = ("majority", "bag_of_words", "window_of_words")


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Everything a report needs, derived from records and never the truth."""

    tables: list[Table]
    baseline: str | None
    suites: dict[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    curves: list[Curve] = dataclasses.field(default_factory=list)
    """Of tables that differ in the budget alone."""

    def long_form(self) -> list[dict[str, Any]]:
        """The long form: one JSON object per table, row, task and reading."""
        crossed = _crossings(self.curves)
        return [
            _long_row(table, row, column)
            | {"crossings": crossed.get((table.comparison, row.name, column.name), [])}
            for table in self.tables
            for row in table.rows
            for column in table.columns
            if row.kind != "baseline" or table.cells[row.name, column.name].status != "missing"
        ]


def comparison(
    runs: Sequence[RunRecord],
    baselines: Sequence[ScoreRecord] = (),
    baseline: str | None = None,
    tasks: Sequence[str] = (),
    suites: Mapping[str, Sequence[str]] | None = None,
    watch: Callable[[list[Table]], None] | None = None,
) -> Comparison:
    """Compare runs.

    Args:
        runs: Finished and failed runs; a run given twice counts once.
        controls: What needed no encoder; each joins every table that asks its question.
        baseline: The row that differences are taken to, where a table has it.
        tasks: The tasks that get columns, in order; all that were scored, as seen, if empty.
        suites: Name -> tasks; a suite that is a part of a table is aggregated by itself too.
        watch: Shown the tables before anything is read off them.

    Raises:
        BenchError: No table has the baseline.
        RefusedError: Outcomes on disk are damaged.
    """
    groups: dict[str, dict[str, RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.data["comparison"], {}).setdefault(run.data["id"], run)
    members = by_curve([list(group.values()) for group in groups.values()])
    lent = untrained_for(members)
    tables = []
    # One thread: sums are the same on every machine, and small ones wait for no other thread.
    with threadpool_limits(1, "blas"):
        for index, title in enumerate(_titles(members)):
            rows = rows_of([*members[index], *lent[index]], baseline)
            columns = columns_of(members[index], tasks)
            tables.append(_table(title, rows, columns, baselines, baseline))
        names = [row.name for table in tables for row in table.rows]
        if baseline is not None and tables and baseline not in names:
            raise unknown_name("objective to compare with", baseline, set(names), "bench compare")
        if watch is not None:
            watch(tables)
        for table in tables:
            table.aggregates.extend(aggregates_of(table, suites or {}))
            annotate(table, baseline)
    return Comparison(tables, baseline, dict(suites or {}), curves_of(tables))


def _table(
    title: tuple[str, str],
    rows: list[Row],
    columns: list[Column],
    baselines: Sequence[ScoreRecord],
    baseline: str | None,
) -> Table:
    matched = {column.name: baselines_of(column, baselines) for column in columns}
    names = {name for found in matched.values() for name in found}
    ranked = [name for name in _CONTROL_ORDER if name in names]
    ranked.extend(sorted(names - set(ranked)))
    present = baseline if any(row.name == baseline for row in rows) else None
    rows.extend(Row(name, name, "baseline") for name in ranked)
    return Table(title[1], title[0], _told_apart(rows), columns, matched, present)


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """Each name once: a label may be another's metric_key, `causal, bidirectional`, or a control."""
    found: dict[str, Row] = {}
    for row in rows:
        spelled = (f"{row.name} ({number})" for number in itertools.count(2))
        name = row.name if row.name not in found else next(n for n in spelled if n not in found)
        found[name] = dataclasses.replace(row, name=name)
    return list(found.values())


def _titles(groups: list[list[RunRecord]]) -> list[tuple[str, str]]:
    """(comparison, title) of each group: corpus, size, budget, and what else sets it apart."""
    facts = [_facts(group[0]) for group in groups]
    explained = {"encoder.": "size", "training.": "size", "tokenizer": "corpus"}
    apart = []
    for key in dict.fromkeys(key for fact in facts for key in fact):
        owner = next((explained[part] for part in explained if key.startswith(part)), None)
        values: dict[Any, set[str | None]] = {}
        for fact in facts:
            values.setdefault(fact.get(owner or ""), set()).add(fact.get(key))
        if any(len(found) > 1 for found in values.values()):
            apart.append(key)
    titles = []
    for index, (group, fact) in enumerate(zip(groups, facts, strict=True)):
        shown = dict.fromkeys(["corpus", "size", "budget", *apart])
        title = ", ".join(f"{key} {fact.get(key, 'unknown')}" for key in shown)
        if len(groups) > 1:
            differ = ", ".join(apart) or f"comparison {group[0].data['comparison'][:8]}"
            title = f"Table {index + 1} of {len(groups)}: {title}. Not comparable with the "
            title += f"other{'s' if len(groups) > 2 else ''}: they differ in {differ}."
        titles.append((group[0].data["comparison"], title))
    return titles


def _facts(run: RunRecord) -> dict[str, str]:
    """All that a table's runs share, flat and readable."""
    data = run.data
    corpus = data.get("corpus")
    short = data["corpus_sha256"][:8]
    facts = {
        "corpus": f"{corpus} ({short})" if isinstance(corpus, str) else short,
        "size": data["size"],
        "budget": f"{big_number(data['budget']['amount'])} {data['budget']['axis']}",
        "tokenizer": data["tokenizer_sha256"][:8],
    }
    own = {"objective", "settings", "objective_code", "seed", "display_name"}
    for key, value in data["spec"].items():
        if key in own or key in data:
            continue
        nested = value.items() if isinstance(value, dict) else [("", value)]
        facts |= {f"{key}.{part}" if part else key: str(leaf) for part, leaf in nested}
    return facts


def _long_row(table: Table, row: Row, column: Column) -> dict[str, Any]:
    cell = table.cells[row.name, column.name]
    interval = cell.interval
    gap = None
    if table.difference_to is not None and table.difference_to != row.name:
        gap = table.difference(row.name, table.difference_to, column.name)
    key = row.name, column.name
    test = table.tests.get(key, (None, None))
    data = row.runs[0].data if row.runs else {"settings": {}, "parameters": {"extra": 0}}
    spent = {axis: plain(cost) for axis, cost in row.spent.items()}
    return {
        "comparison": table.comparison,
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
        "difference": gap and {
            "baseline": table.difference_to,
            "mean": plain(gap.mean),
            "low": plain(gap.low),
            "high": plain(gap.high),
            "seeds": gap.seeds,
            "significant": gap.is_significant,
            "minimum_detectable_difference": plain(gap.minimum_detectable_difference),
            "p": plain(test[0]),
            "holm": test[1],
        },
        "selectivity": plain(cell.selectivity),
        **{
            f"{where}_overlap{suffix}": plain(cell.overlap.get(where, {}).get(name))
            for where in ("train", "corpus")
            for name, suffix in (("share", ""), ("clean_value", "_clean_mean"))
        },
        **spent,
        "tokens_per_second": plain(row.cost(lambda run: run["tokens_per_second"])),
        "extra_parameters": data["parameters"]["extra"],
        "excluded": row.excluded,
        "aggregates": {
            one.name: _standing(one, row.name)
            for one in table.aggregates
            if row.name in one.rows
        },
    }  # fmt: skip


def _crossings(curves: Sequence[Curve]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """By table, row and column: at the budget that settled it, and for either of the two."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for curve in curves:
        for question, search in curve.searches.items():
            for one in search.crossings:
                told = {
                    "ahead_before": curve.rows[one.before].name,
                    "ahead_after": curve.rows[one.after].name,
                    "at": plain(one.at),
                    "low": plain(one.low),
                    "high": plain(one.high),
                    "shown": one.is_shown,
                    "holm": one.stands,
                }
                table = curve.tables[one.settled].comparison
                for maker in (one.before, one.after):
                    point = curve.point(one.settled, maker, question)
                    if point is not None:
                        found.setdefault((table, point[0].name, point[1].name), []).append(told)
    return found


def _standing(aggregate: Aggregate, name: str) -> dict[str, Any]:
    iqm, rank = aggregate.of(name)
    found: dict[str, Any] = {"tasks": len(aggregate.tasks), "letters": aggregate.letters[name]}
    found["below_best"] = name in aggregate.below
    for key, interval in (("iqm", iqm), ("rank", rank)):
        ends = (None,) * 3 if interval is None else (interval.mean, interval.low, interval.high)
        found |= {
            key: plain(ends[0]),
            f"{key}_low": plain(ends[1]),
            f"{key}_high": plain(ends[2]),
        }
    return found
