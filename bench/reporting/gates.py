"""Gates: a comparison is checked against an expression, and the result becomes an exit code.

A gate over several tasks or tables fails if a difference in one of them is significant after Holm's
correction over all of them. Without the correction, a build that tests 60 tasks at 5 % each would
nearly always fail. Without a significant difference nothing fails, because a failed gate claims
that an objective is worse, and that needs evidence.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np

from bench.errors import BenchError, unknown_name
from bench.reporting.cells import RANGES
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
        is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", self.right, re.IGNORECASE)
        return float(self.right) if is_number else None

    @property
    def sides(self) -> tuple[str, ...]:
        """The objectives that it is about."""
        return (self.left,) if self.number is not None else (self.left, self.right)

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
    tests_of = _test_aggregate if _is_overall(gate, table_set) else _test_tasks
    tests: list[_Test] = []
    for number, table in enumerate(table_set.tables, 1):
        where = f"Table {number}, " if len(table_set.tables) > 1 else ""
        lost = _unlearned(table, gate)
        for test in [lost] if lost else tests_of(table_set, table, gate):
            tests.append(dataclasses.replace(test, place=where + test.place))
    if all(isinstance(test.interval, str) and test.interval != _UNLEARNED for test in tests):
        reasons = "".join(f"; {test.place}: {test.interval}" for test in tests)
        raise BenchError(
            f"--fail-if {expression!r}: these runs have no scores there to compare{reasons}"
        )
    corrected = [place for place, test in enumerate(tests) if test.p is not None]
    is_sure = holm(np.array([tests[place].p for place in corrected], dtype=float)).tolist()
    rejected = dict(zip(corrected, is_sure, strict=True))
    results = [_result(gate, test, rejected.get(i, True)) for i, test in enumerate(tests)]
    return GateResult(any(failed for failed, _ in results), [line for _, line in results])


@dataclasses.dataclass(frozen=True)
class _Test:
    """A number to test, with its place in the tables."""

    place: str
    interval: Interval | str
    """Or the reason why there is none."""
    p: float | None = None
    """For Holm's correction; None: it is not one of several."""


_UNLEARNED = "did not learn or did not finish"


def _unlearned(table: Table, gate: _Gate) -> _Test | None:
    """The reason against any test: an objective of which no run counts."""
    if gate.number is not None:
        return None
    rows = [row for row in table.rows if row.name in gate.sides and row.kind == "trained"]
    lost = [row.name for row in rows if not row.is_ranked]
    return _Test(", ".join(lost), _UNLEARNED) if lost else None


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
    if gate.left == gate.right:
        raise BenchError(f"--fail-if {expression!r} compares {gate.left} with itself")
    for name in gate.sides:
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


def _test_aggregate(table_set: TableSet, table: Table, gate: _Gate) -> Iterator[_Test]:
    """Test the interquartile mean over all tasks, or over those of a suite."""
    suite = gate.scope.removeprefix(OVERALL).strip()
    if suite and suite not in table_set.suites:
        raise unknown_name("suite", suite, table_set.suites, "bench list suites")
    name = suite or ALL
    if suite and {column.task for column in table.columns} <= {*table_set.suites[suite]}:
        name = ALL  # the table has no other tasks
    one, interval = table.aggregate(name), None
    if one is not None and gate.number is None:
        interval = one.difference(gate.left, gate.right)
    elif one is not None and gate.left in one.rows:
        interval = one.of(gate.left)[0]
    if interval is not None:
        yield _Test(f"{OVERALL}, {name}", interval)
    elif {*gate.sides} <= {row.name for row in table.rows}:
        yield _Test(f"{OVERALL}, {name}", f"no aggregate has {' and '.join(gate.sides)}")


def _test_tasks(table_set: TableSet, table: Table, gate: _Gate) -> Iterator[_Test]:
    """Test every task in the scope."""
    if not {*gate.sides} <= {row.name for row in table.rows}:
        return
    columns = [column for column in table.columns if _is_in_scope(column, gate, table_set)]
    if gate.number is not None:
        for column in columns:
            _check_range(gate, column)
            interval = table.cells[gate.left, column.name].interval
            if interval is not None:
                yield _Test(column.name, interval)
        return
    left, right = table.place(gate.left), table.place(gate.right)
    for column in columns:
        pair = table.pairs(column.name).part([left], [right])
        interval = pair.interval(0, 0)
        if interval is not None:
            yield _Test(column.name, interval, float(pair.p_values()[0, 0]))


def _check_range(gate: _Gate, column: Column) -> None:
    """Refuse a number that no score can be: tables show shares x 100.

    Raises:
        BenchError: It is out of the range of the metric.
    """
    low, high = RANGES.get(column.metric, (-math.inf, math.inf))
    if gate.number is not None and not low <= gate.number <= high:
        raise BenchError(
            f"--fail-if {gate.text!r}: {column.metric} lies between {low:g} and {high:g} (tables "
            f"show it x 100), so no score is {gate.right}; write {gate.number / 100:g}"
        )


def _is_in_scope(column: Column, gate: _Gate, table_set: TableSet) -> bool:
    if column.is_diagnostic and gate.scope not in (column.name, column.task):
        return False  # below is not worse
    if gate.scope in ("", column.name, column.task):
        return True
    return gate.scope not in _task_names(table_set) and column.task in table_set.suites[gate.scope]


def _result(gate: _Gate, test: _Test, is_holm: bool) -> tuple[bool, str]:
    """Whether the gate failed, and a line with the numbers."""
    interval = test.interval
    if isinstance(interval, str):
        return False, f"{test.place}: not tested, {interval}"
    if gate.number is None and interval.seeds == 1:
        word, failed = "passes: a difference from one seed is never significant", False
    elif gate.is_beyond(interval) and not is_holm:
        word, failed = "passes: not significant over all tests together (Holm)", False
    else:
        failed = gate.is_beyond(interval)
        word = "fails" if failed else "passes"
    mean, low, high = (decimal(x, 4) for x in (interval.mean, interval.low, interval.high))
    return failed, f"{test.place}: {gate.quantity} = {mean} [{low}, {high}], {word}"
