"""Gates: a comparison asked one question whose answer is an exit code."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from bench.errors import BenchError, unknown_name
from bench.reporting.comparison import Comparison
from bench.reporting.entries import Column, Table

GRAMMAR = (
    "OBJECTIVE < OBJECTIVE, TASK: OBJECTIVE < OBJECTIVE, or OBJECTIVE.TASK < NUMBER "
    "(> as well; names as bench compare shows them)"
)
_GATE = re.compile(r"(?:(?P<task>[^:<>]+):)?(?P<left>[^<>:]+)(?P<sign>[<>])(?P<right>[^<>:]+)")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a gate found."""

    failed: bool
    lines: list[str]
    """One for each task looked at."""


def fail_if(compared: Comparison, expression: str) -> Verdict:
    """Ask whether a comparison fails: `span < token`, `sst2: span < token`, `span.sst2 < 0.6`.

    A gate between objectives fails when the left is separably below (above) the right on any
    task both have; one seed separates nothing, so it cannot fail such a gate, and the line says
    so. A gate against a number fails when the whole interval lies below (above) it.

    Raises:
        BenchError: Not of that form, an unknown name, or nothing to compare.
    """
    parts = _GATE.fullmatch(expression)
    if parts is None:
        raise BenchError(f"--fail-if {expression!r} is not a gate; write {GRAMMAR}")
    task, left, sign, right = ((parts[key] or "").strip() for key in parts.groupdict())
    is_number = re.fullmatch(r"[+-]?\d+(\.\d*)?|[+-]?\.\d+", right) is not None
    if is_number and not task:
        left, _, task = left.rpartition(".")
    if not left or (is_number and not task):
        raise BenchError(f"--fail-if {expression!r} names no task; write {GRAMMAR}")
    names = {entry.name for table in compared.tables for entry in table.entries}
    columns = {column.name: column for table in compared.tables for column in table.columns}
    for name in (left,) if is_number else (left, right):
        if name not in names:
            raise unknown_name("objective to compare", name, names, "bench compare")
    tasks = {key for name, column in columns.items() for key in (name, column.task)}
    if task and task not in tasks:
        raise unknown_name("compared task", task, tasks, "bench compare")
    failed, lines = False, []
    for table, column in _asked(compared, task, left, left if is_number else right):
        if is_number:
            interval = table.cells[left, column.name].interval
            claim, bar = f"{left}", float(right)
        else:
            interval = table.difference(left, right, column.name)
            claim, bar = f"{left} - {right}", 0.0
        if interval is None:
            continue
        is_beyond = interval.high < bar if sign == "<" else interval.low > bar
        is_mute = not is_number and interval.seeds == 1
        outcome = "cannot tell: one seed" if is_mute else "fails" if is_beyond else "passes"
        failed |= outcome == "fails"
        lines.append(
            f"{column.name}: {claim} = {interval.mean:.4f} [{interval.low:.4f}, "
            f"{interval.high:.4f}], {outcome}"
        )
    if not lines:
        raise BenchError(f"--fail-if {expression!r}: no score there to compare in these runs")
    return Verdict(failed, lines)


def _asked(compared: Comparison, task: str, *names: str) -> Iterable[tuple[Table, Column]]:
    for table in compared.tables:
        if not {*names} <= {entry.name for entry in table.entries}:
            continue
        for column in table.columns:
            if task in ("", column.task, column.name):
                yield table, column
