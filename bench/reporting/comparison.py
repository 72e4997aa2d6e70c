"""Comparisons: which runs may share a table, and what may be concluded there.

Runs that differ in anything but objective, settings and seed never meet in one table: there are
then several, each headed by what sets it apart. A winner is marked only where its paired
difference to every other objective excludes zero; elsewhere the table names the smallest gap it
could have seen. Scores are taken to be better when higher, and shown x 100 where they and the
chance level lie within -1..1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from bench.errors import unknown_name
from bench.reporting.entries import (
    Column,
    Entry,
    Table,
    columns_of,
    controls_of,
    entries_of,
    read_cell,
    variant_of,
)
from bench.reporting.records import RunRecord, ScoreRecord

_CONTROL_ORDER = ("majority", "bag_of_words", "window_of_words")
_OVERLAP_SHARE = 0.01  # below, no score moves by what a table shows
_MORE_SEEDS = "repeat with --seeds 0-2 or more"


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Everything a report needs, derived from records and never the truth."""

    tables: list[Table]
    baseline: str | None

    def rows(self) -> list[dict[str, Any]]:
        """The long form: one JSON object per table, entry, task and reading."""
        return [
            _long_row(table, entry, column)
            for table in self.tables
            for entry in table.entries
            for column in table.columns
            if entry.kind != "control" or table.cells[entry.name, column.name].status != "missing"
        ]


def comparison(
    runs: Sequence[RunRecord],
    controls: Sequence[ScoreRecord] = (),
    baseline: str | None = None,
    tasks: Sequence[str] = (),
) -> Comparison:
    """Compare runs.

    Args:
        runs: Finished and failed runs; a run given twice counts once.
        controls: What needed no encoder; each joins every table that asks its question.
        baseline: The entry that differences are taken to, where a table has it.
        tasks: The tasks that get columns, in order; all that were scored, as seen, if empty.

    Raises:
        BenchError: No table has the baseline.
        RefusedError: Outcomes on disk are damaged.
    """
    groups: dict[str, dict[str, RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.data["comparison"], {}).setdefault(run.data["id"], run)
    members = [list(group.values()) for group in groups.values()]
    tables = []
    for index, title in enumerate(_titles(members)):
        entries, columns = entries_of(members[index], baseline), columns_of(members[index], tasks)
        tables.append(_table(title, entries, columns, controls, baseline))
    names = [entry.name for table in tables for entry in table.entries]
    if baseline is not None and tables and baseline not in names:
        raise unknown_name("objective to compare with", baseline, set(names), "bench compare")
    return Comparison(tables, baseline)


def _table(
    title: tuple[str, str],
    entries: list[Entry],
    columns: list[Column],
    controls: Sequence[ScoreRecord],
    baseline: str | None,
) -> Table:
    cells = {}
    for entry in entries:
        for column in columns:
            scores = {
                run.data["seed"]: score
                for run in entry.finished
                for score in run.scores
                if variant_of(score) == column.variant
                and score.data["attention"] == entry.attention
            }
            absent = next(iter(entry.excluded), "missing") if not entry.finished else "missing"
            cells[entry.name, column.name] = read_cell(scores, column, absent)
    matched = {column.name: controls_of(column, controls) for column in columns}
    names = {name for found in matched.values() for name in found}
    ranked = [name for name in _CONTROL_ORDER if name in names]
    for name in [*ranked, *sorted(names - set(ranked))]:
        entries.append(Entry(name, name, "control"))
        for column in columns:
            score = matched[column.name].get(name)
            cells[name, column.name] = read_cell({} if score is None else {None: score}, column)
    present = baseline if any(entry.name == baseline for entry in entries) else None
    table = Table(title[1], title[0], entries, columns, cells, present)
    table.warnings.extend(_warnings(table, baseline))
    for column in columns:
        _judge(table, column)
        _tell_overlap(table, column)
    return table


def _warnings(table: Table, baseline: str | None) -> list[str]:
    warnings = []
    lone = [entry.name for entry in table.entries if len(entry.finished) == 1]
    if lone:
        warnings.append(
            f"ONE SEED ({', '.join(lone)}): the ± covers test examples only. Another seed may "
            "reverse these gaps, so none of them is called separable and no winner is marked "
            f"by them; {_MORE_SEEDS}."
        )
    for entry in table.entries:
        for status, seeds in entry.excluded.items() if entry.attention == "native" else ():
            which = ", ".join(str(seed) for seed in seeds)
            warnings.append(f"left out of the means: {entry.name}, seed {which} ({status})")
    warnings.extend(_collapses(table))
    if baseline is not None and table.baseline is None:
        warnings.append(f"no {baseline} among these runs, so no differences to it")
    return warnings


def _collapses(table: Table) -> list[str]:
    """Fine-tuning seeds that learned nothing: their scores are not averaged in silence."""
    variants = {column.variant for column in table.columns}
    return [
        f"{score.data['task']}: {entry.name} seed {run.data['seed']}: "
        f"{len(collapsed)} of {len(score.data['details']['seeds'])} fine-tuning seeds collapsed"
        + (" (all: their scores stand)" if is_all else "; the mean is of the others")
        for entry in table.entries
        for run in entry.finished
        for score in run.scores
        if variant_of(score) in variants
        and score.data["attention"] == entry.attention
        and (collapsed := score.data["details"].get("collapsed_seeds"))
        for is_all in [len(collapsed) == len(score.data["details"]["seeds"])]
    ]


def _judge(table: Table, column: Column) -> None:
    """Mark the best objective of a column, or note what keeps it from being marked."""
    scored = [
        (cell.interval.mean, entry)
        for entry in table.entries
        if (cell := table.cells[entry.name, column.name]).interval is not None
    ]
    ranked = [entry for _, entry in sorted(scored, key=lambda pair: -pair[0])]
    trained = [entry for entry in ranked if entry.kind == "trained"]
    if not trained:
        return
    best = trained[0]
    rivals = [entry for entry in trained if entry.runs != best.runs]
    doubts = [_doubt(table, column, best.name, rival.name) for rival in rivals]
    first_doubt = next((doubt for doubt in doubts if doubt), None)
    if first_doubt:
        table.notes.append(f"{column.name}: not separable: {first_doubt}")
    elif rivals:
        table.best[column.name] = best.name
    level = []
    for entry in ranked:
        gap = table.difference(best.name, entry.name, column.name)
        if entry.kind != "trained" and gap is not None and gap.low <= 0:
            level.append(entry.name)
    if level:
        table.notes.append(
            f"{column.name}: {best.name}, the best, is not separably above {', '.join(level)}"
        )


def _tell_overlap(table: Table, column: Column) -> None:
    """Note what of the test was seen before, if it is a percent or more, and what that changes."""
    cells = {e.name: table.cells[e.name, column.name] for e in table.entries if e.kind == "trained"}
    unit = table.scale(column)
    for where, what in (("train", "the training examples"), ("corpus", "the corpus")):
        told = {name: cell.overlap[where] for name, cell in cells.items() if where in cell.overlap}
        share = max((one["share"] or 0.0 for one in told.values()), default=0.0)
        if share < _OVERLAP_SHARE:
            continue
        clean = [
            f"{name} {one['clean_value'] * unit:.1f}"
            for name, one in told.items()
            if one["clean_value"] is not None
        ]
        rest = f"; on the others: {', '.join(clean)}" if clean else ""
        table.notes.append(
            f"{column.name}: {share:.1%} of the test examples overlap with {what}{rest}"
        )


def _doubt(table: Table, column: Column, best: str, rival: str) -> str | None:
    """Why the best may not be better than a rival; None where it is."""
    gap = table.difference(best, rival, column.name)
    if gap is None:
        return f"{best} and {rival} share no seed"
    if gap.is_separable and gap.mean > 0:
        return None
    unit = table.scale(column)
    leads = f"{best} leads {rival} by {gap.mean * unit:.1f}"
    if gap.seeds == 1:
        return f"{leads}; one seed cannot tell"
    smallest = f"{gap.smallest_gap * unit:.1f}"
    return f"{leads}; the smallest gap this comparison could have seen is {smallest}"


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
    own = {"objective", "settings", "objective_code", "seed", "label"}
    for key, value in data["spec"].items():
        if key in own or key in data:
            continue
        nested = value.items() if isinstance(value, dict) else [("", value)]
        facts |= {f"{key}.{part}" if part else key: str(leaf) for part, leaf in nested}
    return facts


def _long_row(table: Table, entry: Entry, column: Column) -> dict[str, Any]:
    cell = table.cells[entry.name, column.name]
    interval = cell.interval
    gap = None
    if table.baseline is not None and table.baseline != entry.name:
        gap = table.difference(entry.name, table.baseline, column.name)
    data = entry.runs[0].data if entry.runs else {"settings": {}, "parameters": {"extra": 0}}
    spent = {
        axis: _plain(entry.cost(lambda run, axis=axis: run["spent"][axis]) or 0)  # type: ignore[misc]
        for axis in ("tokens", "predictions", "flops", "seconds")
    }
    return {
        "comparison": table.comparison,
        "objective": entry.objective,
        "label": entry.name,
        "settings": data["settings"],
        "attention": entry.attention,
        "kind": entry.kind,
        "control": entry.kind == "control",
        "task": column.task,
        "column": column.name,
        "reading": column.reading,
        "metric": column.metric,
        "chance": _plain(column.chance),
        "status": cell.status,
        "mean": _plain(interval.mean if interval else None),
        "low": _plain(interval.low if interval else None),
        "high": _plain(interval.high if interval else None),
        "seeds": interval.seeds if interval else 0,
        "examples": cell.examples,
        "best": table.best.get(column.name) == entry.name,
        "difference": gap and {
            "baseline": table.baseline,
            "mean": _plain(gap.mean),
            "low": _plain(gap.low),
            "high": _plain(gap.high),
            "seeds": gap.seeds,
            "separable": gap.is_separable,
            "smallest_gap": _plain(gap.smallest_gap),
        },
        "selectivity": _plain(cell.selectivity),
        **{
            f"{where}_overlap{suffix}": _plain(cell.overlap.get(where, {}).get(name))
            for where in ("train", "corpus")
            for name, suffix in (("share", ""), ("clean_value", "_clean_mean"))
        },
        **spent,
        "tokens_per_second": _plain(entry.cost(lambda run: run["tokens_per_second"])),
        "extra_parameters": data["parameters"]["extra"],
        "excluded": entry.excluded,
    }  # fmt: skip


def _plain(value: float | None) -> float | int | None:
    """A JSON number without the last bits, which differ between processors."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.9g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) >= 2 else rounded


def big_number(value: float) -> str:
    """A count as a person says it: 999, 300k, 2.0M, 1.4G."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if abs(scaled) < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"
