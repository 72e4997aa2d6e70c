"""Gates: a comparison asked one question whose answer is an exit code.

A gate over several tasks fails where one of them stands after Holm's correction over all that were
looked at: a build that is asked 60 questions at 5 % each would fail every time. Without a
separable difference nothing fails: a gate is an accusation, and the table is its evidence.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from bench.errors import BenchError, unknown_name
from bench.reporting.aggregates import ALL
from bench.reporting.comparison import Comparison
from bench.reporting.formatting import decimal
from bench.reporting.table import Column, Table
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import holm

GRAMMAR = (
    "OBJECTIVE < OBJECTIVE (any task), TASK: OBJECTIVE < OBJECTIVE, SUITE: OBJECTIVE < OBJECTIVE, "
    "aggregate: OBJECTIVE < OBJECTIVE, aggregate SUITE: OBJECTIVE < OBJECTIVE; a NUMBER may stand "
    "on the right where a task or the aggregate is named, as in OBJECTIVE.TASK < NUMBER "
    "(> as well; names as bench compare shows them)"
)
OVERALL = "aggregate"
_GATE = re.compile(r"(?:(?P<scope>[^:<>]+):)?(?P<left>[^<>:]+)(?P<sign>[<>])(?P<right>[^<>:]+)")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a gate found."""

    failed: bool
    lines: list[str]
    """One for each task looked at."""


@dataclasses.dataclass(frozen=True)
class _Gate:
    """`scope: left sign right`, as written."""

    text: str
    scope: str
    left: str
    sign: str
    right: str

    @property
    def number(self) -> float | None:
        is_number = re.fullmatch(r"[+-]?\d+(\.\d*)?|[+-]?\.\d+", self.right)
        return float(self.right) if is_number else None

    @property
    def claim(self) -> str:
        return self.left if self.number is not None else f"{self.left} - {self.right}"

    def is_beyond(self, interval: Interval) -> bool:
        """The whole interval lies on the accused side."""
        bar = self.number or 0.0
        return interval.high < bar if self.sign == "<" else interval.low > bar


def fail_if(compared: Comparison, expression: str) -> Verdict:
    """Ask whether a comparison fails: `span < token`, `glue: span < token`, `span.sst2 < 0.6`.

    Between objectives it fails where the left is separably below (above) the right; one seed
    separates nothing, so it cannot fail such a gate, and the line says so. A gate against a
    number fails when the whole interval lies below (above) it.

    Raises:
        BenchError: Not of that form, an unknown name, or nothing to compare.
    """
    gate = _parse(compared, expression)
    found = [
        outcome
        for table in compared.tables
        for outcome in (_overall if _is_overall(gate, compared) else _tasks)(compared, table, gate)
    ]
    if not found:
        raise BenchError(f"--fail-if {expression!r}: no score there to compare in these runs")
    return Verdict(any(failed for failed, _ in found), [line for _, line in found])


def _parse(compared: Comparison, expression: str) -> _Gate:
    parts = _GATE.fullmatch(expression)
    if parts is None:
        raise BenchError(f"--fail-if {expression!r} is not a gate; write {GRAMMAR}")
    gate = _Gate(expression, *((part or "").strip() for part in parts.groups()))
    if gate.number is not None and not gate.scope:
        left, _, scope = gate.left.rpartition(".")
        gate = dataclasses.replace(gate, left=left, scope=scope)
    tasks = _task_names(compared)
    is_single = gate.scope in tasks or _is_overall(gate, compared)
    if not gate.left or (gate.number is not None and not gate.scope):
        raise BenchError(f"--fail-if {expression!r} names no task; write {GRAMMAR}")
    names = {row.name for table in compared.tables for row in table.rows}
    for name in (gate.left,) if gate.number is not None else (gate.left, gate.right):
        if name not in names:
            raise unknown_name("objective to compare", name, names, "bench compare")
    if gate.scope and not is_single and gate.scope not in compared.suites:
        known = {*tasks, *compared.suites, OVERALL}
        raise unknown_name("compared task or suite", gate.scope, known, "bench compare")
    if gate.number is not None and not is_single:
        raise BenchError(
            f"--fail-if {expression!r}: the scores of {gate.scope} have no scale in common; name "
            f"one task, or aggregate {gate.scope}"
        )
    return gate


def _task_names(compared: Comparison) -> set[str]:
    columns = [column for table in compared.tables for column in table.columns]
    return {name for column in columns for name in (column.name, column.task)}


def _is_overall(gate: _Gate, compared: Comparison) -> bool:
    return gate.scope.split(" ")[0] == OVERALL and gate.scope not in _task_names(compared)


def _overall(compared: Comparison, table: Table, gate: _Gate) -> Iterator[tuple[bool, str]]:
    """The interquartile mean over all tasks, or over a suite's."""
    suite = gate.scope.removeprefix(OVERALL).strip()
    if suite and suite not in compared.suites:
        raise unknown_name("suite", suite, compared.suites, "bench list tasks")
    wanted = [suite] if suite else [ALL]
    if suite and {column.task for column in table.columns} <= {*compared.suites[suite]}:
        wanted = [ALL]  # the suite is all there is
    for one in table.aggregates:
        interval = None
        if one.name in wanted and gate.number is None:
            interval = one.difference(gate.left, gate.right)
        elif one.name in wanted and gate.left in one.rows:
            interval = one.of(gate.left)[0]
        if interval is not None:
            yield _outcome(gate, f"{OVERALL}, {one.name}", interval, True)


def _tasks(compared: Comparison, table: Table, gate: _Gate) -> Iterator[tuple[bool, str]]:
    """Every task in the scope, corrected for how many there are."""
    here = {row.name for row in table.rows}
    if not ({gate.left} if gate.number is not None else {gate.left, gate.right}) <= here:
        return
    columns = [column for column in table.columns if _is_asked(column, gate, compared)]
    if gate.number is not None:
        for column in columns:
            interval = table.cells[gate.left, column.name].interval
            if interval is not None:
                yield _outcome(gate, column.name, interval, True)
        return
    ours, theirs = table.place(gate.left), table.place(gate.right)
    pairs = [table.pairs(column.name).part([ours], [theirs]) for column in columns]
    stands = holm(np.array([float(pair.p_values()[0, 0]) for pair in pairs]))
    for column, pair, is_sure in zip(columns, pairs, stands, strict=True):
        interval = pair.interval(0, 0)
        if interval is not None:
            yield _outcome(gate, column.name, interval, bool(is_sure))


def _is_asked(column: Column, gate: _Gate, compared: Comparison) -> bool:
    if gate.scope in ("", column.name, column.task):
        return True
    return gate.scope not in _task_names(compared) and column.task in compared.suites[gate.scope]


def _outcome(gate: _Gate, where: str, interval: Interval, is_sure: bool) -> tuple[bool, str]:
    """Whether it failed, and the line that says so."""
    if gate.number is None and interval.seeds == 1:
        word, failed = "cannot tell: one seed", False
    elif gate.is_beyond(interval) and not is_sure:
        word, failed = "passes: not separable among all the tasks looked at (Holm)", False
    else:
        failed = gate.is_beyond(interval)
        word = "fails" if failed else "passes"
    mean, low, high = (decimal(x, 4) for x in (interval.mean, interval.low, interval.high))
    return failed, f"{where}: {gate.claim} = {mean} [{low}, {high}], {word}"
