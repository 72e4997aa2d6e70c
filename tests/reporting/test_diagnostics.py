"""A diagnostic is shown and ranks nobody: no best, no mark, no aggregate, no gate, no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reporting.conclusions.verdict import verdict
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare

LEVELS = {"token": 0.6, "span": 0.9, "untrained": 0.5}


@pytest.fixture
def compared(tmp_path: Path) -> TableSet:
    for objective, level in LEVELS.items():
        for seed in range(3):
            folder = make_run(
                tmp_path, objective, seed, tokens=0 if objective == "untrained" else 1000
            )
            for task in ("one", "two"):
                make_score(folder, task, answers(level, task, objective, seed))
            make_score(
                folder,
                "shown",
                answers(1.4 - level, "shown", objective, seed),
                is_diagnostic=True,
                details={"meaning": "higher: more of it"},
            )
    return compare(tmp_path)


def test_nothing_is_best_or_below_in_a_diagnostic(compared: TableSet) -> None:
    (table,) = compared.tables
    assert set(table.best) == {"one", "two"}
    assert {column for _, column in table.below} == {"one", "two"}
    assert table.is_above("token", "span", "shown")  # the difference itself is known
    assert not any("shown:" in note for note in table.notes)


def test_it_is_left_out_of_the_aggregate_with_the_reason(compared: TableSet) -> None:
    (aggregate,) = compared.tables[0].aggregates
    assert aggregate.tasks == ("one", "two")
    assert aggregate.left_out["shown"].startswith("a diagnostic: neither end")


def test_its_meaning_stands_below_the_table(compared: TableSet) -> None:
    text = " ".join(render(compared).split())
    assert "shown is a diagnostic, which ranks nobody: higher: more of it" in text


def test_the_verdict_and_the_gates_are_about_other_tasks(compared: TableSet) -> None:
    assert "shown" not in " ".join(verdict(compared.tables[0]).lines)
    from bench.reporting.gates import fail_if

    result = fail_if(compared, "span < token")
    assert not any("shown" in line for line in result.lines)
    assert not result.failed
    assert fail_if(compared, "shown: span < token").failed  # asked for by name
