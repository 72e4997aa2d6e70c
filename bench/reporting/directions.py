"""Published directions: do the results reproduce the findings of the papers?

The claims are data beside the objectives that they name (`objectives/directions.toml`). Each claim
is one paired difference, the mean over its tasks. Its interval is that of a single score: the seed
part comes from the mean over tasks of each seed, and the example part is summed over tasks, which
share no examples. A claim that an objective is "not below" another is reproduced only by a
significant difference, because no interval can show equality. A difference from one seed is never
significant. Each result is at the 5 % level, without a correction for the number of claims.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bench._layout import part_folder
from bench.corpus import GENERATED
from bench.errors import BenchError
from bench.reporting.columns import Column
from bench.reporting.formatting import decimal, plain
from bench.reporting.table import Row, Table
from bench.reporting.table_set import TableSet
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import Pairs

FILE = "directions.toml"
Verdict = Literal["reproduced", "contradicted", "too small to tell", "not in these results"]
REPRODUCED: Verdict = "reproduced"
CONTRADICTED: Verdict = "contradicted"
TOO_SMALL: Verdict = "too small to tell"
ABSENT: Verdict = "not in these results"
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
    continued: bool = False
    """Whether it is about runs that continue a checkpoint, or about runs from nothing."""


@dataclasses.dataclass(frozen=True)
class TaskDifference:
    """The scores of both sides on one task, and the ends of their difference."""

    better: float | None
    worse: float | None
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class PairResult:
    """The difference of two rows of a table, mean over the tasks of a direction."""

    better: str
    worse: str
    interval: Interval
    tasks: dict[str, TaskDifference]
    """By column name."""
    comparison: str
    table: str
    """Title of the table."""
    is_generated: bool = False
    """Whether the text was generated: then the answer is known, and nothing is reproduced."""


@dataclasses.dataclass(frozen=True)
class DirectionResult:
    """The result of a direction for one pair of rows, or the reason why there is none."""

    direction: Direction
    verdict: Verdict
    pair: PairResult | None
    missing: str = ""
    """`the runs` or `the scores`, if there is no result."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        record = self.direction.model_dump(include={"claim", "source", "published"})
        record["verdict"] = self.verdict
        if self.pair is None:
            return record | {"lacking": self.missing, "commands": self.direction.commands}
        pair = self.pair
        return record | {
            "better": pair.better,
            "worse": pair.worse,
            "mean": plain(pair.interval.mean),
            "low": plain(pair.interval.low),
            "high": plain(pair.interval.high),
            "seeds": pair.interval.seeds,
            "tasks": {name: vars(task) for name, task in pair.tasks.items()},
            "comparison": pair.comparison,
            "table": pair.table,
        }


def read_directions(path: Path | None = None) -> list[Direction]:
    """The directions in a file; by default those beside the objectives.

    Raises:
        BenchError: The file does not contain directions.
    """
    path = path or part_folder("objectives") / FILE
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8")).get("direction", [])
        return [Direction.model_validate(one) for one in listed]
    except (OSError, ValueError, ValidationError) as error:
        raise BenchError(f"{path} contains no valid directions: {error}") from None


def verify(table_set: TableSet, directions: Sequence[Direction]) -> list[DirectionResult]:
    """The results of each direction, one for each pair of rows that it is about."""
    results = []
    for direction in directions:
        sides = [
            (table, better, worse)
            for table in table_set.tables
            if _continues(table) == direction.continued
            for better, worse in _sides(direction, table)
        ]
        pairs = [_pair_result(direction, *side) for side in sides]
        known = [
            DirectionResult(direction, _verdict(pair.interval), pair)
            for pair in pairs
            if pair is not None
        ]
        missing = "the scores" if pairs else "the runs"
        results += known or [DirectionResult(direction, ABSENT, None, missing)]
    return results


def _continues(table: Table) -> bool:
    """Whether the runs of a table continue a checkpoint."""
    return any("init" in run.data["spec"] for row in table.rows for run in row.runs)


def _sides(direction: Direction, table: Table) -> list[tuple[Row, Row]]:
    """The pairs of rows that a direction is about."""
    return [
        (better, worse)
        for better in _matching(direction.better, table)
        for worse in _matching(direction.worse, table)
        if better is not worse and _is_fair(direction, better, worse)
    ]


def _matching(side: Side, table: Table) -> list[Row]:
    known = [row for row in table.rows if row.attention == "native" and row.kind != "baseline"]
    if side.objective == _ANY:
        return [row for row in known if row.is_ranked]
    counted = (row for row in known if row.kind == "untrained" or row.is_ranked)
    named = [row for row in counted if row.objective == side.objective]
    if not side.settings:  # an untrained encoder has no settings, but a checkpoint renames it
        return [
            row
            for row in named
            if row.kind == "untrained" or row.runs[0].data["display_name"] == row.objective
        ]
    return [r for r in named if side.settings.items() <= r.runs[0].data["settings"].items()]


def _is_fair(direction: Direction, better: Row, worse: Row) -> bool:
    """Whether two rows of one objective agree in the settings that the direction does not name."""
    if better.objective != worse.objective:
        return True
    named = {*direction.better.settings, *direction.worse.settings}
    others = [
        {key: value for key, value in row.runs[0].data["settings"].items() if key not in named}
        for row in (better, worse)
    ]
    return bool(others[0] == others[1])


def _pair_result(direction: Direction, table: Table, better: Row, worse: Row) -> PairResult | None:
    """The difference of two rows; None if the table lacks the scores."""
    columns = [
        column
        for column in table.columns
        if column.is_headline and column.limit is None and _is_about(direction, column)
        and table.difference(better.name, worse.name, column.name) is not None
    ]  # fmt: skip
    interval = mean_difference(table, columns, better.name, worse.name)
    if interval is None:
        return None
    tasks = {column.name: _task_difference(table, column, better, worse) for column in columns}
    corpora = {run.data.get("corpus") for run in better.runs}
    is_generated = corpora == {GENERATED}
    about = table.comparison, table.title, is_generated
    return PairResult(better.name, worse.name, interval, tasks, *about)


def _is_about(direction: Direction, column: Column) -> bool:
    if not direction.tasks and not direction.families:
        return True
    return column.task in direction.tasks or column.family in direction.families


def _task_difference(table: Table, column: Column, better: Row, worse: Row) -> TaskDifference:
    difference = table.difference(better.name, worse.name, column.name)
    scores = [table.cells[row.name, column.name].interval for row in (better, worse)]
    return TaskDifference(
        better=plain(scores[0].mean if scores[0] else None),
        worse=plain(scores[1].mean if scores[1] else None),
        low=plain(difference.low if difference else None),
        high=plain(difference.high if difference else None),
    )


def _verdict(interval: Interval) -> Verdict:
    if not interval.is_significant:
        return TOO_SMALL
    return REPRODUCED if interval.mean > 0 else CONTRADICTED


def mean_difference(
    table: Table, columns: Sequence[Column], name: str, other: str
) -> Interval | None:
    """The paired difference of two rows, mean over columns.

    Args:
        table: The table.
        columns: The columns.
        name: The row that counts positive.
        other: The row that counts negative.

    Returns:
        The interval, or None without columns or a common seed.
    """
    values, parts = [], []
    for column in columns:
        samples = [table.cells[row, column.name].sample for row in (name, other)]
        first, second = (
            dict(zip(s.seeds, s.values, strict=True)) if s is not None else {} for s in samples
        )
        values.append({seed: first[seed] - second[seed] for seed in first if seed in second})
        parts.append(table.pairs(column.name).part([table.place(name)], [table.place(other)]))
    seeds = sorted(set.intersection(*(set(one) for one in values))) if values else []
    if not seeds:
        return None
    means = np.array([[one[seed] for one in values] for seed in seeds]).mean(axis=1)
    count = len(seeds)
    seed_variance = means.var(ddof=1) / count if count > 1 else 0.0
    example, floor = (
        np.sum([getattr(part, name)[0, 0] for part in parts]) / len(parts) ** 2
        for name in ("example", "floor")
    )
    freedom = min(part.freedom[0, 0] for part in parts)
    figures = (
        means.mean(),
        seed_variance,
        example,
        floor,
        float(count),
        freedom,
        max(count - 1, 1),
    )
    return Pairs(*(np.full((1, 1), figure) for figure in figures)).interval(0, 0)


def render(results: Sequence[DirectionResult], out: str) -> str:
    """The results as text: one line for each published direction.

    Results on generated text are listed apart and are not counted: they show that the instrument
    works, not that a finding holds on text that people write.

    Args:
        results: The results.
        out: The output root, as in the commands that make missing runs.
    """
    generated = [one for one in results if one.pair is not None and one.pair.is_generated]
    others = [one for one in results if one not in generated]
    on_generated = {one.direction.claim for one in generated}
    # What is missing here and known on generated text is listed there alone.
    others = [one for one in others if one.pair or one.direction.claim not in on_generated]
    lines, counts = _section(others, out)
    if generated:
        heading = "on generated text (calibration; not counted as reproduced):"
        lines += ["", heading, *_section(generated, out)[0]]
    known = [sum(verdict == one for one in counts) for verdict in _VERDICTS]
    lines += [
        "",
        f"{known[0]} reproduced, {known[1]} contradicted, {known[2]} too small to tell, "
        f"{known[3]} not in these results; each at 5 %, not corrected; "
        "± half the 95 % interval, which is also the minimum detectable difference",
    ]
    return "\n".join(lines) + "\n"


_VERDICTS: tuple[Verdict, ...] = (REPRODUCED, CONTRADICTED, TOO_SMALL, ABSENT)


def _section(results: Sequence[DirectionResult], out: str) -> tuple[list[str], list[Verdict]]:
    """One line for each direction, and its verdict over all pairs."""
    lines: list[str] = []
    decisions: list[Verdict] = []
    for claim in dict.fromkeys(result.direction.claim for result in results):
        own = [result for result in results if result.direction.claim == claim]
        decided = {result.verdict for result in own}
        verdict = REPRODUCED if decided == {REPRODUCED} else TOO_SMALL
        verdict = CONTRADICTED if CONTRADICTED in decided else verdict
        verdict = ABSENT if decided == {ABSENT} else verdict
        decisions.append(verdict)
        source = f"{own[0].direction.published}; {own[0].direction.source}"
        lines.append(f"{verdict}: {claim}{_evidence(own, out)} [published: {source}]")
    return lines, decisions


def _evidence(results: Sequence[DirectionResult], out: str) -> str:
    """The difference of the only pair, the range of several, or the command that is missing."""
    pairs = [(one, one.pair) for one in results if one.pair is not None]
    if not pairs:
        suffix = "" if out == "results" else f" --out {shlex.quote(out)}"
        commands = "; ".join(f"{one}{suffix}" for one in results[0].direction.commands)
        return f"; {results[0].missing} are missing: {commands}"
    texts = []
    for result, pair in pairs:
        interval, names = pair.interval, list(pair.tasks)
        tasks = names[0] if len(names) == 1 else f"mean of {len(names)} tasks"
        half = _percent(interval.half_width)
        seeds = f"seeds: {interval.seeds}"
        seeds += "; one seed is never significant" if interval.seeds == 1 else ""
        text = f"{pair.better} - {pair.worse} = {_percent(interval.mean, sign='+')} ±{half}"
        texts.append((result.verdict, f"{text} ({tasks}, {seeds})"))
    if len(texts) == 1:
        return f"; {texts[0][1]}"
    count = sum(verdict == REPRODUCED for verdict, _ in texts)
    worst = next((text for verdict, text in texts if verdict != REPRODUCED), texts[-1][1])
    return f"; {count} of {len(texts)} pairs, among them {worst}"


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else decimal(100 * value, sign=sign)


def as_json(results: Sequence[DirectionResult]) -> str:
    """The results as JSON."""
    return json.dumps([result.to_json() for result in results], indent=1, allow_nan=False)
