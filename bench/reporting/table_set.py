"""The tables of a comparison: which runs share a table, and what the tables show.

Runs are in one table only if they differ in nothing but objective, settings, seed and machine, and
if machines agree on what both of them did. Otherwise there are several tables, each titled with its
differences to the others. A higher score is better.
Scores are shown x 100 if they and the chance level lie within -1..1.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from threadpoolctl import threadpool_limits

from bench.errors import unknown_name
from bench.records.scores import ScoreRecord
from bench.records.store import RunRecord
from bench.reporting.aggregates import aggregates_of
from bench.reporting.annotations import annotate
from bench.reporting.columns import Column, baselines_of, columns_of, is_of_corpus, is_public
from bench.reporting.commands import compare_command
from bench.reporting.conclusions.learning import judged_by_features
from bench.reporting.conclusions.machines import pools_of
from bench.reporting.conclusions.tuned import note_reversals
from bench.reporting.curves import Curve, by_curve, curves_of, untrained_for
from bench.reporting.formatting import big_number
from bench.reporting.table import Intervals, Row, Table, rows_of

_BASELINE_ORDER = ("majority", "bag_of_words", "bm25", "window_of_words")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TableSet:
    """The tables of a comparison, derived from records."""

    tables: list[Table]
    baseline: str | None
    """Name of the row that differences are taken to."""
    suites: dict[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """Suite -> tasks."""
    curves: list[Curve] = dataclasses.field(default_factory=list)
    """Groups of tables that differ in the budget only."""
    out: str = "results"
    """Folder of the records as a user types it, for printed commands."""
    damaged: tuple[str, ...] = ()
    """A sentence about each damaged record, which is left out."""

    @classmethod
    def from_records(
        cls,
        runs: Sequence[RunRecord],
        baselines: Sequence[ScoreRecord] = (),
        baseline: str | None = None,
        tasks: Sequence[str] = (),
        suites: Mapping[str, Sequence[str]] | None = None,
        watch: Callable[[list[Table]], None] | None = None,
        intervals: Intervals = "moderated",
        out: str = "results",
    ) -> Self:
        """Compare runs.

        Args:
            runs: Finished and failed runs; a run that is given twice counts once.
            baselines: Scores that need no encoder; each joins every table with its task and data.
            baseline: Name of the row that differences are taken to.
            tasks: The tasks that get columns, in this order; empty: all scored tasks.
            suites: Suite -> tasks; a suite that is a part of a table gets an aggregate of its own.
            watch: Called with the tables before any statistic is computed.
            intervals: `moderated`: variances between seeds are estimated over all objectives and
                tasks; `own`: each cell and each pair by itself.
            out: Folder of the records as a user types it, for printed commands.

        Returns:
            The tables, with letters, warnings, notes and aggregates.

        Raises:
            BenchError: No table has a row named `baseline`.
            RefusedError: Outcomes on disk are damaged.
        """
        groups: dict[str, dict[tuple[str, str], RunRecord]] = {}
        for run in runs:
            members_of = groups.setdefault(run.data["comparison"], {})
            members_of.setdefault(_identity(run), run)
        pools = [pool for group in groups.values() for pool in pools_of(list(group.values()))]
        by_first = {_identity(pool.runs[0]): pool for pool in pools}
        members = by_curve([pool.runs for pool in pools])
        untrained = untrained_for(members)
        own_text = (suites or {}).get("self", ())
        members = [
            judged_by_features(group, borrowed, own_text)
            for group, borrowed in zip(members, untrained, strict=True)
        ]
        # One thread: sums are then the same on every machine, and small ones need no other thread.
        with threadpool_limits(1, "blas"):
            tables = [
                _table(
                    title,
                    rows_of([*group, *borrowed], baseline),
                    columns_of(group, tasks),
                    [score for score in baselines if is_of_corpus(score, group[0])],
                    baseline,
                    intervals,
                )
                for title, group, borrowed in zip(_titles(members), members, untrained, strict=True)
            ]
            _check_baseline(baseline, tables, out)
            if watch is not None:
                watch(tables)
            for table, group in zip(tables, members, strict=True):
                pool = by_first[_identity(group[0])]
                if pool.note:
                    (table.notes if pool.is_checked else table.warnings).append(pool.note)
                table.aggregates.extend(aggregates_of(table, suites or {}))
                annotate(table, baseline)
            note_reversals(tables)
        return cls(tables, baseline, dict(suites or {}), curves_of(tables), out)


def _identity(run: RunRecord) -> tuple[str, str]:
    """Two machines with the same versions give one id to two runs."""
    return run.data["id"], run.machine


def _check_baseline(baseline: str | None, tables: list[Table], out: str) -> None:
    rows = [row for table in tables for row in table.rows]
    names = {name for row in rows for name in (row.name, _untouched(row)) if name}
    if baseline is not None and tables and baseline not in names:
        raise unknown_name("objective to compare with", baseline, names, compare_command(out))


def _table(
    title: tuple[str, str],
    rows: list[Row],
    columns: list[Column],
    baselines: Sequence[ScoreRecord],
    baseline: str | None,
    intervals: Intervals,
) -> Table:
    matching = {column.name: baselines_of(column, baselines) for column in columns}
    names = {name for scores in matching.values() for name in scores}
    public = {n for scores in matching.values() for n, score in scores.items() if is_public(score)}
    ordered = [name for name in _BASELINE_ORDER if name in names]
    ordered.extend(sorted(names - set(ordered), key=lambda name: (name in public, name)))
    known = [row.name for row in rows if baseline and baseline in (row.name, _untouched(row))]
    rows.extend(Row(name, name, "baseline", is_public=name in public) for name in ordered)
    return Table(
        title[1],
        title[0],
        _uniquely_named(rows),
        columns,
        matching,
        known[0] if known else None,
        intervals,
    )


def _untouched(row: Row) -> str | None:
    """The objective of an encoder that is not trained: an untouched checkpoint has another name."""
    return row.objective if row.kind == "untrained" else None


def _uniquely_named(rows: Sequence[Row]) -> list[Row]:
    """Rename duplicates: a display name may equal `causal, bidirectional`, or a baseline's name."""
    unique: dict[str, Row] = {}
    for row in rows:
        numbered = (f"{row.name} ({number})" for number in itertools.count(2))
        name = row.name if row.name not in unique else next(n for n in numbered if n not in unique)
        unique[name] = dataclasses.replace(row, name=name)
    return list(unique.values())


def _titles(groups: list[list[RunRecord]]) -> list[tuple[str, str]]:
    """(comparison, title) of each group: corpus, size, budget, and differences between groups."""
    facts = [_facts(group[0]) for group in groups]
    if any("continues" in fact for fact in facts):
        facts = [{"continues": "nothing", **fact} for fact in facts]
    differing = _differing_facts(facts)
    titles = []
    for index, (group, fact) in enumerate(zip(groups, facts, strict=True)):
        continued = ["continues"] if fact.get("continues", "nothing") != "nothing" else []
        shown = dict.fromkeys(["corpus", "size", "budget", *continued, *differing])
        title = ", ".join(f"{key} {fact.get(key, 'unknown')}" for key in shown)
        if len(groups) > 1:
            differ = ", ".join(differing) or f"comparison {group[0].data['comparison'][:8]}"
            title = f"Table {index + 1} of {len(groups)}: {title}. Not comparable with the "
            title += f"other{'s' if len(groups) > 2 else ''}: they differ in {differ}."
        titles.append((group[0].data["comparison"], title))
    return titles


def _differing_facts(facts: Sequence[Mapping[str, str]]) -> list[str]:
    """The facts in which groups differ, without those that another fact explains."""
    explained = {"encoder.": "size", "training.": "size", "tokenizer": "corpus"}
    differing = []
    for key in dict.fromkeys(key for fact in facts for key in fact):
        owner = next((explained[part] for part in explained if key.startswith(part)), None)
        values: dict[Any, set[str | None]] = {}
        for fact in facts:
            values.setdefault(fact.get(owner or ""), set()).add(fact.get(key))
        if any(len(distinct) > 1 for distinct in values.values()):
            differing.append(key)
    # Machines alone divide a table only where their scores differ significantly.
    return [key for key in differing if key != "machine"] or differing


def _facts(run: RunRecord) -> dict[str, str]:
    """Everything that the runs of a table have in common, flat and readable."""
    data = run.data
    corpus = data.get("corpus")
    short = data["corpus_sha256"][:8]
    facts = {
        "corpus": f"{corpus} ({short})" if isinstance(corpus, str) else short,
        "size": data["size"],
        "budget": f"{big_number(data['budget']['amount'])} {data['budget']['axis']}",
        "tokenizer": data["tokenizer_sha256"][:8],
    }
    varying = {"objective", "settings", "objective_code", "seed", "display_name"}
    varying |= {"device", "torch_version"}
    for key, value in data["spec"].items():
        if key in varying or key in data:
            continue
        nested = value.items() if isinstance(value, dict) else [("", value)]
        facts |= {f"{key}.{part}" if part else key: str(leaf) for part, leaf in nested}
    for label in data["spec"].get("tuned", ()):
        name, _, tried = label.partition("=")
        facts[name] = f"tuned ({tried})"
    facts.pop("tuned", None)
    if run.continues is not None:
        facts = {key: value for key, value in facts.items() if not key.startswith("init.")}
        facts["continues"] = run.continues
    facts.pop("training.threads", None)
    return facts | {"machine": run.machine}
