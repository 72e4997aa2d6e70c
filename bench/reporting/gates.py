"""Gates: a comparison is checked against an expression, and the result becomes an exit code.

A gate over several tasks fails if a difference in one of them is significant after Holm's
correction over all of them. Without the correction, a build that tests 60 tasks at 5 % each would
nearly always fail. Without a significant difference nothing fails, because a failed gate claims
that an objective is worse, and that needs evidence.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import numpy as np

from bench.errors import BenchError, unknown_name
from bench.reporting.columns import Column
from bench.reporting.commands import compare_command
from bench.reporting.formatting import decimal
from bench.reporting.table import ALL, Table
from bench.reporting.table_set import TableSet
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import holm

GRAMMAR = (
    "OBJECTIVE < OBJECTIVE (any task), TASK: OBJECTIVE < OBJECTIVE, SUITE: OBJECTIVE < OBJECTIVE, "
    "aggregate: OBJECTIVE < OBJECTIVE, aggregate SUITE: OBJECTIVE < OBJECTIVE; a NUMBER may be on "
    "the right side if a task or the aggregate is named, as in OBJECTIVE.TASK < NUMBER "
    "(> as well; names as bench compare shows them)"
)
OVERALL = "aggregate"
_GATE = re.compile(r"(?:(?P<scope>[^:<>]+):)?(?P<left>[^<>:]+)(?P<sign>[<>])(?P<right>[^<>:]+)")


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The result of a gate; it is true if the gate failed."""

    failed: bool
    lines: list[str]
    """One line for each tested task."""

    def __bool__(self) -> bool:
        return self.failed


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
    def quantity(self) -> str:
        return self.left if self.number is not None else f"{self.left} - {self.right}"

    def is_beyond(self, interval: Interval) -> bool:
        """Whether the whole interval is on the side that fails."""
        threshold = self.number or 0.0
        return interval.high < threshold if self.sign == "<" else interval.low > threshold


def fail_if(table_set: TableSet, expression: str) -> GateResult:
    """Test a gate: `span < token`, `glue: span < token`, `span.sst2 < 0.6`.

    A gate between objectives fails if the left is significantly below (above) the right one. A
    difference from one seed is never significant, so such a gate passes, and the line says so. A
    gate against a number fails if the whole interval is below (above) the number.

    Args:
        table_set: The tables.
        expression: The gate, as `GRAMMAR` says.

    Raises:
        BenchError: The expression does not have that form, has an unknown name, or there is
            nothing to compare.
    """
    gate = _parse(table_set, expression)
    test = _test_aggregate if _is_overall(gate, table_set) else _test_tasks
    results = [result for table in table_set.tables for result in test(table_set, table, gate)]
    if not results:
        raise BenchError(f"--fail-if {expression!r}: these runs have no scores there to compare")
    return GateResult(any(failed for failed, _ in results), [line for _, line in results])


def _parse(table_set: TableSet, expression: str) -> _Gate:
    parts = _GATE.fullmatch(expression) if isinstance(expression, str) else None
    if parts is None:
        raise BenchError(f"--fail-if {expression!r} is not a gate; write {GRAMMAR}")
    gate = _Gate(expression, *((part or "").strip() for part in parts.groups()))
    if gate.number is not None and not gate.scope:
        left, _, scope = gate.left.rpartition(".")
        gate = dataclasses.replace(gate, left=left, scope=scope)
    tasks = _task_names(table_set)
    is_single = gate.scope in tasks or _is_overall(gate, table_set)
    if not gate.left or (gate.number is not None and not gate.scope):
        raise BenchError(f"--fail-if {expression!r} names no task; write {GRAMMAR}")
    names = {row.name for table in table_set.tables for row in table.rows}
    for name in (gate.left,) if gate.number is not None else (gate.left, gate.right):
        if name not in names:
            raise unknown_name("objective to compare", name, names, compare_command(table_set.out))
    if gate.scope and not is_single and gate.scope not in table_set.suites:
        known = {*tasks, *table_set.suites, OVERALL}
        listing = compare_command(table_set.out)
        raise unknown_name("compared task or suite", gate.scope, known, listing)
    if gate.number is not None and not is_single:
        raise BenchError(
            f"--fail-if {expression!r}: the tasks of {gate.scope} have no common scale; name one "
            f"task, or aggregate {gate.scope}"
        )
    return gate


def _task_names(table_set: TableSet) -> set[str]:
    columns = [column for table in table_set.tables for column in table.columns]
    return {name for column in columns for name in (column.name, column.task)}


def _is_overall(gate: _Gate, table_set: TableSet) -> bool:
    return gate.scope.split(" ")[0] == OVERALL and gate.scope not in _task_names(table_set)


def _test_aggregate(table_set: TableSet, table: Table, gate: _Gate) -> Iterator[tuple[bool, str]]:
    """Test the interquartile mean over all tasks, or over those of a suite."""
    suite = gate.scope.removeprefix(OVERALL).strip()
    if suite and suite not in table_set.suites:
        raise unknown_name("suite", suite, table_set.suites, "bench list suites")
    name = suite or ALL
    if suite and {column.task for column in table.columns} <= {*table_set.suites[suite]}:
        name = ALL  # the table has no other tasks
    for one in table.aggregates:
        interval = None
        if one.name == name and gate.number is None:
            interval = one.difference(gate.left, gate.right)
        elif one.name == name and gate.left in one.rows:
            interval = one.of(gate.left)[0]
        if interval is not None:
            yield _result(gate, f"{OVERALL}, {one.name}", interval, True)


def _test_tasks(table_set: TableSet, table: Table, gate: _Gate) -> Iterator[tuple[bool, str]]:
    """Test every task in the scope, corrected for their number."""
    names = {row.name for row in table.rows}
    if not ({gate.left} if gate.number is not None else {gate.left, gate.right}) <= names:
        return
    columns = [column for column in table.columns if _is_in_scope(column, gate, table_set)]
    if gate.number is not None:
        for column in columns:
            interval = table.cells[gate.left, column.name].interval
            if interval is not None:
                yield _result(gate, column.name, interval, True)
        return
    left, right = table.place(gate.left), table.place(gate.right)
    pairs = [table.pairs(column.name).part([left], [right]) for column in columns]
    is_rejected = holm(np.array([float(pair.p_values()[0, 0]) for pair in pairs]))
    for column, pair, is_sure in zip(columns, pairs, is_rejected, strict=True):
        interval = pair.interval(0, 0)
        if interval is not None:
            yield _result(gate, column.name, interval, bool(is_sure))


def _is_in_scope(column: Column, gate: _Gate, table_set: TableSet) -> bool:
    if column.is_diagnostic and gate.scope not in (column.name, column.task):
        return False  # below is not worse
    if gate.scope in ("", column.name, column.task):
        return True
    return gate.scope not in _task_names(table_set) and column.task in table_set.suites[gate.scope]


def _result(gate: _Gate, scope: str, interval: Interval, is_holm: bool) -> tuple[bool, str]:
    """Whether the gate failed, and a line with the numbers."""
    if gate.number is None and interval.seeds == 1:
        word, failed = "passes: a difference from one seed is never significant", False
    elif gate.is_beyond(interval) and not is_holm:
        word, failed = "passes: not significant over all tested tasks together (Holm)", False
    else:
        failed = gate.is_beyond(interval)
        word = "fails" if failed else "passes"
    mean, low, high = (decimal(x, 4) for x in (interval.mean, interval.low, interval.high))
    return failed, f"{scope}: {gate.quantity} = {mean} [{low}, {high}], {word}"
