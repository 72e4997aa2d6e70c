"""The leaderboard: one self-contained page with the objectives of each table in groups of ties.

A place is a range, because objectives that share a letter are not significantly different: `1 to 3`
means that no objective is significantly above it, and that two others are not distinguishable from
it. The letters are those of the table's aggregate over all tasks, or of its only task. The page has
no date and no path, so the same records give the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.reporting.formatting import big_number, decimal, duration, width
from bench.reporting.page import facts as page_facts
from bench.reporting.page.page import template_environment
from bench.statistics.intervals import Interval
from bench.storage import write_atomic

if TYPE_CHECKING:
    from bench.reporting.table import Row, Table
    from bench.reporting.table_set import TableSet

LEADERBOARD = "leaderboard.html"


@dataclasses.dataclass(frozen=True)
class Place:
    """An objective with its place, and the evidence for it."""

    name: str
    place: str
    """`1`, `1 to 3`, or `-` with the reason as the score."""
    score: str
    letters: str
    evidence: tuple[str, ...]
    """Seeds, tasks and the cost of one pretraining."""
    runs: tuple[str, ...]
    """Ids of its runs."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The objectives of one table, the highest score first; those without a place come last."""

    table: Table
    key: str
    """Its anchor."""
    measure: str
    """The metric of the score, in words."""
    places: tuple[Place, ...]


def write_leaderboard(table_set: TableSet, folder: Path) -> Path:
    """Write the page, and return its path.

    Args:
        table_set: The tables, of one folder of records or of several.
        folder: Folder of the page; it is created if it does not exist.

    Raises:
        BenchError: The folder cannot be written.
        FailedError: The disk is full.
    """
    path = folder / LEADERBOARD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, render_leaderboard(table_set).encode())
    except OSError as error:
        raise BenchError(
            f"the leaderboard cannot be written to {folder} ({error.strerror}); choose another "
            "folder with --to"
        ) from None
    return path


def render_leaderboard(table_set: TableSet) -> str:
    """The HTML of the page. All texts are escaped."""
    environment = template_environment()
    rankings = [ranking(table, f"table_{n}") for n, table in enumerate(table_set.tables, 1)]
    num_runs = len({run for one in rankings for place in one.places for run in place.runs})
    return environment.get_template("leaderboard.html.jinja").render(
        rankings=rankings, num_runs=num_runs, count=page_facts.count
    )


def ranking(table: Table, key: str) -> Ranking:
    """The objectives of a table in the order of their scores, with places and evidence."""
    basis = _basis(table)
    ordered = sorted(basis.scores, key=lambda name: (-basis.scores[name].mean, name))
    places = [_place(table, name, basis) for name in ordered]
    others = [row for row in table.rows if row.kind == "trained" and row.name not in basis.scores]
    places += [_unplaced(table, row) for row in others]
    return Ranking(table, key, basis.measure, tuple(places))


@dataclasses.dataclass(frozen=True)
class _Basis:
    """The basis of the places in a table."""

    measure: str
    scores: dict[str, Interval]
    """By row, as shown."""
    letters: Mapping[str, str]
    num_tasks: int
    length: float
    """Length of the scale as shown; infinite for an unbounded metric."""


def _basis(table: Table) -> _Basis:
    """All tasks together; without an aggregate, the first task with a score."""
    ranked = [row.name for row in table.rows if row.is_ranked]
    overall = table.aggregate()
    if overall is not None:
        scores = {
            name: _scaled(overall.of(name)[0], 100) for name in ranked if name in overall.rows
        }
        count = len(overall.tasks)
        measure = f"interquartile mean over {count} tasks, 100 is the best objective"
        return _Basis(measure, scores, overall.letters, count, 100.0)
    for column in table.headlines.values():
        scores = {
            name: _scaled(interval, table.scale(column))
            for name in ranked
            if (interval := table.cells[name, column.name].interval) is not None
        }
        if scores:
            letters = {name: table.letters.get((name, column.name), "") for name in scores}
            measure = f"{column.metric} on {column.task}"
            return _Basis(measure, scores, letters, 1, table.length(column))
    return _Basis("no task was scored", {}, {}, 0, 100.0)


def _scaled(interval: Interval, by: float) -> Interval:
    return dataclasses.replace(
        interval,
        mean=interval.mean * by,
        low=interval.low * by,
        high=interval.high * by,
        half=interval.half_width * by,
    )


def _place(table: Table, name: str, basis: _Basis) -> Place:
    scores, letters, own = basis.scores, basis.letters, basis.scores[name]

    def is_different(other: str) -> bool:
        pair = letters.get(name, ""), letters.get(other, "")
        return all(pair) and not set(pair[0]) & set(pair[1])

    different = [scores[other].mean for other in scores if is_different(other)]
    first = 1 + sum(mean > own.mean for mean in different)
    last = len(scores) - sum(mean < own.mean for mean in different)
    row = table.rows[table.place(name)]
    return Place(
        name,
        str(first) if first == last else f"{first} to {last}",
        f"{decimal(own.mean)} ±{width(own.half_width, basis.length)}",
        letters.get(name, ""),
        _evidence(row, own.seeds, basis.num_tasks),
        _ids(row),
    )


def _unplaced(table: Table, row: Row) -> Place:
    overall = table.aggregate()
    reason = "" if overall is None else overall.left_out.get(row.name, "")
    if not row.is_ranked:
        reason = ", ".join(dict.fromkeys(run.status for run in row.runs))
    evidence = _evidence(row, len(row.finished), 0)
    return Place(row.name, "-", reason or "no score", "", evidence, _ids(row))


def _evidence(row: Row, num_seeds: int, num_tasks: int) -> tuple[str, ...]:
    tokens, _, flops, seconds = row.spent.values()
    return (
        page_facts.count(range(num_seeds), "seed"),
        page_facts.count(range(num_tasks), "task"),
        f"{big_number(tokens)} tokens",
        f"{flops:.1e} FLOPs".replace("e+", "e"),
        duration(seconds),
    )


def _ids(row: Row) -> tuple[str, ...]:
    return tuple(run.data["id"] for run in row.runs)
