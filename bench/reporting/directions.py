"""Published directions held against the results at hand: does what the papers found come out here?

The claims are data beside the objectives they name (`objectives/directions.toml`). Each is one
paired difference, the mean over the tasks it speaks of, with the interval of a single score: the
seeds' part from each seed's mean over tasks, the examples' part summed over tasks, which share no
examples. A claim that one is "not below" another is reproduced only by a separable difference;
equality cannot be shown by any interval. One seed tells nothing. Each answer is at 5 % by itself.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bench._layout import part_folder
from bench.errors import BenchError
from bench.reporting.comparison import Comparison
from bench.reporting.formatting import decimal, plain
from bench.reporting.table import Column, Row, Table
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import Pairs

FILE = "directions.toml"
REPRODUCED, CONTRADICTED, TOO_SMALL = "reproduced", "contradicted", "too small to tell"
ABSENT = "not in these results"
_ANY = "*"


class Side(BaseModel):
    """One side of a direction."""

    model_config = ConfigDict(extra="forbid")

    objective: str
    settings: dict[str, Any] = {}


class Direction(BaseModel):
    """A published finding."""

    model_config = ConfigDict(extra="forbid")

    claim: str
    source: str
    published: str
    better: Side
    worse: Side
    tasks: list[str] = []
    families: list[str] = []
    commands: list[str]


def read_directions(path: Path | None = None) -> list[Direction]:
    """The directions of a file, by default those that come with the objectives.

    Raises:
        BenchError: Not such a file.
    """
    path = path or part_folder("objectives") / FILE
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8")).get("direction", [])
        return [Direction.model_validate(one) for one in listed]
    except (OSError, ValueError, ValidationError) as error:
        raise BenchError(f"{path} holds no directions: {error}") from None


def verified(compared: Comparison, directions: Sequence[Direction]) -> list[dict[str, Any]]:
    """An answer for each direction and each pair of objectives it is about, as plain values."""
    found = []
    for direction in directions:
        answers = [
            _answer(direction, table, better, worse)
            for table in compared.tables
            for better, worse in _sides(direction, table)
        ]
        told = [answer for answer in answers if answer is not None]
        about = direction.model_dump(include={"claim", "source", "published"})
        if not told:
            lacking = "the scores" if answers else "the runs"
            told = [{"verdict": ABSENT, "lacking": lacking, "commands": direction.commands}]
        found += [about | answer for answer in told]
    return found


def _sides(direction: Direction, table: Table) -> list[tuple[Row, Row]]:
    """The pairs of a table's rows that a direction is about."""
    return [
        (better, worse)
        for better in _matching(direction.better, table)
        for worse in _matching(direction.worse, table)
        if better is not worse and _is_fair(direction, better, worse)
    ]


def _matching(side: Side, table: Table) -> list[Row]:
    known = [e for e in table.rows if e.attention == "native" and e.kind != "baseline"]
    if side.objective == _ANY:
        return [row for row in known if row.kind == "trained"]
    named = [row for row in known if row.objective == side.objective]
    if not side.settings:
        return [row for row in named if row.runs[0].data["display_name"] == row.objective]
    return [e for e in named if side.settings.items() <= e.runs[0].data["settings"].items()]


def _is_fair(direction: Direction, better: Row, worse: Row) -> bool:
    """Settings of one objective that the direction does not name are the same on both sides."""
    if better.objective != worse.objective:
        return True
    named = {*direction.better.settings, *direction.worse.settings}
    kept = [
        {key: value for key, value in row.runs[0].data["settings"].items() if key not in named}
        for row in (better, worse)
    ]
    return bool(kept[0] == kept[1])


def _answer(direction: Direction, table: Table, better: Row, worse: Row) -> dict[str, Any] | None:
    """What a table says about a direction; None where it lacks the scores."""
    columns = [
        column
        for column in table.columns
        if column.is_headline and column.limit is None and _is_asked(direction, table, column)
        and table.difference(better.name, worse.name, column.name) is not None
    ]  # fmt: skip
    interval = mean_difference(table, columns, better.name, worse.name)
    if interval is None:
        return None
    verdict = TOO_SMALL
    if interval.is_significant:
        verdict = REPRODUCED if interval.mean > 0 else CONTRADICTED
    return {
        "verdict": verdict,
        "better": better.name,
        "worse": worse.name,
        "mean": plain(interval.mean),
        "low": plain(interval.low),
        "high": plain(interval.high),
        "seeds": interval.seeds,
        "tasks": {column.name: _figures(table, column, better, worse) for column in columns},
        "comparison": table.comparison,
        "table": table.title,
    }


def _is_asked(direction: Direction, table: Table, column: Column) -> bool:
    if not direction.tasks and not direction.families:
        return True
    return column.task in direction.tasks or column.family in direction.families


def _figures(table: Table, column: Column, better: Row, worse: Row) -> dict[str, Any]:
    gap = table.difference(better.name, worse.name, column.name)
    means = [table.cells[row.name, column.name].interval for row in (better, worse)]
    return {
        "better": plain(means[0].mean if means[0] else None),
        "worse": plain(means[1].mean if means[1] else None),
        "low": plain(gap.low if gap else None),
        "high": plain(gap.high if gap else None),
    }


def mean_difference(
    table: Table, columns: Sequence[Column], ours: str, theirs: str
) -> Interval | None:
    """The paired difference of two rows, averaged over columns; None where there is none."""
    values, parts = [], []
    for column in columns:
        samples = [table.cells[name, column.name].sample for name in (ours, theirs)]
        here, there = (
            dict(zip(s.seeds, s.values, strict=True)) if s is not None else {} for s in samples
        )
        values.append({seed: here[seed] - there[seed] for seed in here if seed in there})
        parts.append(table.pairs(column.name).part([table.place(ours)], [table.place(theirs)]))
    seeds = sorted(set.intersection(*(set(one) for one in values))) if values else []
    if not seeds:
        return None
    means = np.array([[one[seed] for one in values] for seed in seeds]).mean(axis=1)
    count = len(seeds)
    of_seeds = means.var(ddof=1) / count if count > 1 else 0.0
    example, floor = (
        np.sum([getattr(part, name)[0, 0] for part in parts]) / len(parts) ** 2
        for name in ("example", "floor")
    )
    freedom = min(part.freedom[0, 0] for part in parts)
    figures = (means.mean(), of_seeds, example, floor, float(count), freedom)
    return Pairs(*(np.full((1, 1), figure) for figure in figures)).interval(0, 0)


def render(found: Sequence[dict[str, Any]], out: str) -> str:
    """The answers for a person."""
    lines = []
    for claim in dict.fromkeys(one["claim"] for one in found):
        answers = [one for one in found if one["claim"] == claim]
        first = answers[0]
        lines += [claim, f"    published: {first['published']} ({first['source']})"]
        for one in answers:
            lines += _lines(one, out)
        lines.append("")
    counts = [sum(one["verdict"] == kind for one in found)
              for kind in (REPRODUCED, CONTRADICTED, TOO_SMALL, ABSENT)]  # fmt: skip
    lines.append(
        f"{counts[0]} reproduced, {counts[1]} contradicted, {counts[2]} too small to tell, "
        f"{counts[3]} not in these results; "
        "each at 5 % by itself, and ± is the smallest gap it could have seen"
    )
    return "\n".join(lines) + "\n"


def _lines(one: dict[str, Any], out: str) -> list[str]:
    if one["verdict"] == ABSENT:
        where = "" if out == "results" else f" --out {out}"
        return [f"    {ABSENT}: {one['lacking']} are missing; they come from"] + [
            f"        {command}{where}" for command in one["commands"]
        ]
    half = (one["high"] - one["low"]) / 2
    names = list(one["tasks"])
    where = names[0] if len(names) == 1 else f"mean of {len(names)} tasks"
    gap = f"{decimal(100 * one['mean'], sign='+')} ±{decimal(100 * half)}"
    said = f"    {one['verdict']}: {one['better']} - {one['worse']} = {gap} "
    said += f"({where}, seeds: {one['seeds']}"
    said += "; one seed cannot tell)" if one["seeds"] == 1 else ")"
    shown = [
        f"{name} {decimal(100 * cell['better'])} against {decimal(100 * cell['worse'])}"
        for name, cell in one["tasks"].items()
    ]
    return [said, f"        {', '.join(shown)}", f"        in {one['table']}"]


def as_json(found: Sequence[dict[str, Any]]) -> str:
    """The answers for a machine."""
    return json.dumps(list(found), indent=1, allow_nan=False)
