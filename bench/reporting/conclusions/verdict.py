"""The verdict: the first lines of `run`, `compare`, the page and `Comparison.verdict`.

It says which objective leads, which are tied with it and which lost, on the user's own labels
first, then over the other tasks; each task counts once. An objective is never called the best where
it is not significantly above the untrained encoder and every baseline that applies. The last line
is the one next step (see `bench.reporting.conclusions.next_step`). Everything is taken from the
table, so the verdict never claims more than the table shows.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from bench.records.store import NOT_LEARNED
from bench.reporting.columns import Column
from bench.reporting.conclusions.next_step import Contest, NextStep, next_step
from bench.reporting.formatting import decimal, listing, quoted
from bench.reporting.table import ALL, ALL_BUT_OWN, Row, Table
from bench.statistics.aggregate import Aggregate


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The conclusion from a table, in sentences."""

    lines: tuple[str, ...]
    """The conclusions, the most important first."""
    next_step: NextStep

    def __str__(self) -> str:
        step = [f"Next: {self.next_step}"] if self.next_step.text else []
        return "\n".join([*self.lines, *step])


def verdict(table: Table, out: str = "results") -> Verdict:
    """The verdict of a table.

    Args:
        table: The table.
        out: Folder of the records, for the command of the next step.
    """
    lines = _failures(table)
    ranked = [row for row in table.rows if row.is_ranked]
    columns = list(table.headlines.values())
    if not ranked:
        finished = any(row.kind == "trained" and row.finished for row in table.rows)
        nothing = "No objective learned" if finished else "No pretrained objective finished"
        lines.append(f"{nothing}, so there is nothing to rank.")
    elif not columns:
        lines.append("No task was scored, so the objectives cannot be compared.")
    else:
        own = [column for column in columns if column.is_own]
        others = [column for column in columns if not column.is_own]
        lines += [f"{column.name} (your labels): {_on_task(table, column)}" for column in own]
        if others:
            lines.append(_over_tasks(table, others))
    return Verdict(tuple(lines), next_step(table, contest(table), out))


def contest(table: Table) -> Contest | None:
    """The comparison that decides: on the first own task, or over all tasks, or on the first one.

    None if there is nothing to compare.
    """
    columns = list(table.headlines.values())
    own = [column for column in columns if column.is_own]
    aggregate = table.aggregate()
    if own or (columns and aggregate is None):
        return _contest_on(table, (own or columns)[0])
    return None if aggregate is None else _contest_over(table, aggregate)


def _failures(table: Table) -> list[str]:
    """The objectives of which seeds did not learn, or did not end."""
    failed: dict[str, list[str]] = {}
    for row in table.rows:
        if row.kind == "trained" and row.attention == "native":
            for status, count in Counter(run.status for run in row.runs).items():
                text = f"{quoted(row.name)} ({count} of {len(row.runs)} seeds)"
                word = "did not learn" if status == NOT_LEARNED else status
                if status != "finished":
                    failed.setdefault(word, []).append(text)
    return [
        f"{word[0].upper()}{word[1:]}, so not counted: {listing(names, 8)}."
        for word, names in failed.items()
    ]


def _on_task(table: Table, column: Column) -> str:
    """The conclusion on one task, with the objectives that it does not compare."""
    absent = [
        quoted(row.name)
        for row in table.rows
        if row.is_ranked
        and row.attention == "native"
        and table.cells[row.name, column.name].status == "missing"
    ]
    note = f" Not compared, for want of a score: {listing(absent, 8)}." if absent else ""
    return _leader_on(table, column) + note


def _leader_on(table: Table, column: Column) -> str:
    contest = _contest_on(table, column)
    if contest is None:
        return "no objective has a score."
    unit = table.scale(column)
    points = " points" if unit == 100 else ""

    def gap(other: str) -> str:
        difference = table.difference(contest.top.name, other, column.name)
        if difference is None:
            return f"without a seed in common with {quoted(other)}"
        by = f"{decimal(abs(difference.mean) * unit)}{points}"
        if difference.is_significant or difference.seeds == 0:
            return f"{'above' if difference.mean > 0 else 'below'} {quoted(other)} by {by}"
        side = "above" if difference.mean > 0 else "below"
        return f"not distinguishable from {quoted(other)} ({by} {side})"

    mean = table.cells[contest.top.name, column.name].interval
    assert mean is not None  # it is ranked
    top = f"{quoted(contest.top.name)} ({decimal(mean.mean * unit)})"
    if contest.seeds == 1:
        beside = f", {gap(contest.strongest)}" if contest.strongest else ""
        return f"one seed shows no difference; the highest is {top}{beside}."
    if contest.obstacles:
        return (
            f"no objective is worth its pretraining here yet: the highest, {top}, is "
            f"{listing([gap(name) for name in contest.obstacles], 3)}."
        )
    above = f", and {gap(contest.strongest)}" if contest.strongest else ""
    lost = f" Below it: {_names(contest.lost)}." if contest.lost else ""
    if not contest.tied and contest.lost:
        return f"{top} is significantly above every other objective{above}.{lost}"
    if not contest.tied:
        is_alone = sum(row.is_ranked and row.attention == "native" for row in table.rows) == 1
        return f"{top} is the only objective{'' if is_alone else ' with a score'}{above}."
    return f"{top} leads, not distinguishable from {_names(contest.tied)}{above}.{lost}"


def _over_tasks(table: Table, columns: Sequence[Column]) -> str:
    """The conclusion over the tasks that are not the user's own."""
    has_own = any(column.is_own for column in table.columns)
    aggregate = table.aggregate(ALL_BUT_OWN if has_own else ALL)
    wins = _wins(table, columns)
    count = f"{len(columns)} tasks" if len(columns) > 1 else f"the one task ({columns[0].name})"
    if len(columns) == 1:
        return f"{columns[0].name}: {_on_task(table, columns[0])}"
    worth = _worth(table, columns)
    if aggregate is None or max(aggregate.seeds) < 2:
        clear = [f"{quoted(name)} on {listing(won)}" for name, won in wins.items()]
        best = f"significantly best: {'; '.join(clear)}" if clear else "no objective is best on any"
        return f"On {count}: {best}. {worth}"
    contest = _contest_over(table, aggregate)
    if contest is None:
        return f"On {count}: one objective. {worth}"
    text = f"Over {len(aggregate.tasks)} tasks together: {quoted(contest.top.name)} "
    if contest.obstacles:
        text += f"has the highest mean, but is not above {listing(contest.obstacles)}"
    elif contest.tied:
        text += f"leads, not distinguishable from {_names(contest.tied)}"
    else:
        text += "is significantly above every other objective"
    text += f"; below it: {_names(contest.lost)}" if contest.lost else ""
    absent = [
        f"{quoted(row.name)} ({aggregate.left_out[row.name]})"
        for row in table.rows
        if row.is_ranked and row.name in aggregate.left_out
    ]
    text += f"; not compared: {listing(absent, 3)}." if absent else "."
    return f"{text} {worth}"


def _worth(table: Table, columns: Sequence[Column]) -> str:
    """On how many tasks some objective is above what it began with and every baseline."""
    starts = [row for row in table.rows if row.kind == "untrained" and row.finished]
    if not starts:
        return "No untrained encoder is among the records, so no gain over it is stated."
    start = starts[0].start
    worth = [column.name for column in columns if _is_worth(table, column, starts)]
    baselines = [row.name for row in table.rows if row.kind == "baseline" and row.is_floor]

    def has_baseline(name: str) -> bool:
        return any(table.cells[one, name].interval is not None for one in baselines)

    if any(map(has_baseline, worth or [column.name for column in columns])):
        start += " and every baseline"
    if not worth:
        return f"On none of the {len(columns)} is an objective significantly above {start}."
    which = "all" if len(worth) == len(columns) else f"{len(worth)} of {len(columns)}"
    without = [name for name in worth if not has_baseline(name)]
    lack = f"; no baseline was scored on {listing(without)}" if baselines and without else ""
    return (
        f"On {which} tasks some objective is significantly above {start} ({listing(worth)}{lack})."
    )


def _is_worth(table: Table, column: Column, starts: Sequence[Row]) -> bool:
    """Whether an objective is above every row that it must be above, the untrained one scored."""
    contest = _contest_on(table, column)
    is_scored = any(table.cells[row.name, column.name].interval is not None for row in starts)
    return is_scored and contest is not None and contest.seeds > 1 and not contest.obstacles


def _wins(table: Table, columns: Sequence[Column]) -> dict[str, list[str]]:
    wins: dict[str, list[str]] = {}
    for column in columns:
        contest = _contest_on(table, column)
        if column.name in table.best and contest is not None and not contest.obstacles:
            wins.setdefault(table.best[column.name], []).append(column.name)
    return wins


def _contest_on(table: Table, column: Column) -> Contest | None:
    ranked = table.ranked(column.name)
    rivals = [row for row in ranked if row.is_ranked]
    if not rivals:
        return None
    top, *rest = rivals
    rest = _once([row for row in rest if row.runs != top.runs])
    others = [row for row in ranked if row.is_floor]
    lost = [row for row in rest if table.is_above(top.name, row.name, column.name)]
    interval = table.cells[top.name, column.name].interval
    seeds = interval.seeds if interval else 0

    def is_beaten(row: Row) -> bool:
        if seeds > 1:
            return table.is_above(top.name, row.name, column.name)
        difference = table.difference(top.name, row.name, column.name)
        return difference is not None and difference.low > 0  # nothing is significant

    obstacles = [row.name for row in others if not is_beaten(row)]
    return Contest(
        top=top,
        tied=tuple(row for row in rest if row not in lost),
        lost=tuple(lost),
        obstacles=tuple(obstacles),
        strongest=others[0].name if others else None,
        seeds=seeds,
        column=column,
    )


def _contest_over(table: Table, aggregate: Aggregate) -> Contest | None:
    rows = {row.name: row for row in table.rows}
    ranked = [name for name in aggregate.rows if name in rows and rows[name].is_ranked]
    if not ranked:
        return None
    top = max(ranked, key=lambda name: aggregate.of(name)[0].mean)
    ranked.sort(key=lambda name: -aggregate.of(name)[0].mean)
    others = [rows[name] for name in ranked if rows[name].runs != rows[top].runs]
    rest = [row.name for row in _once(others)]

    def is_above(name: str) -> bool:
        difference = aggregate.difference(top, name)
        return difference is not None and difference.seeds > 1 and difference.low > 0

    untrained = [name for name in aggregate.rows if rows[name].kind == "untrained"]
    return Contest(
        top=rows[top],
        tied=tuple(rows[name] for name in rest if not is_above(name)),
        lost=tuple(rows[name] for name in rest if is_above(name)),
        obstacles=tuple(name for name in untrained if not is_above(name)),
        strongest=untrained[0] if untrained else None,
        seeds=max(aggregate.seeds),
        aggregate=aggregate,
    )


def _once(rows: Sequence[Row]) -> list[Row]:
    """Each objective once: the same runs may have a row for each attention."""
    return [row for i, row in enumerate(rows) if row.runs not in [r.runs for r in rows[:i]]]


def _names(rows: Sequence[Row]) -> str:
    return listing([quoted(row.name) for row in rows], 8)
