from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.records.store import read_runs
from bench.reporting.gates import fail_if
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers, compare, full, small

__all__ = ["full"]  # a fixture


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    out = tmp_path_factory.mktemp("gates")
    small(out, {"token": 0.4, "span": 0.9, "rtd": 0.41})
    for run in read_runs(out, ["span"]):
        make_score(run.folder, "extra", answers(0.5, "extra", "span", run.data["seed"]))
    return compare(out)


@pytest.mark.parametrize(
    ("expression", "failed"),
    [
        ("token < span", True),
        ("span < token", False),
        ("span > token", True),
        ("token < rtd", False),
        ("sense: token < span", True),
        ("token.sense < 0.9", True),
        ("sense: token < 0.9", True),
        ("token.sense < .1", False),
        ("span.sense > 0.6", True),
        (" span.extra<0.0 ", False),
    ],
)
def test_gates(gated: TableSet, expression: str, failed: bool) -> None:
    result = fail_if(gated, expression)
    assert result.failed is failed
    assert bool(result) is failed
    assert result.lines[0].endswith("fails" if failed else "passes")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("span", "write OBJECTIVE < OBJECTIVE"),
        ("", "is not a gate"),
        ("a < b < c", "is not a gate"),
        ("span < 0.5", "names no task"),
        ("spam < token", "did you mean 'span'"),
        ("sens: span < token", "did you mean 'sense'"),
        ("extra: span < token", "these runs have no scores there to compare"),
        ("__import__('os').system('x') < token", "no objective to compare"),
        ("span.sense < nan", "no objective to compare named"),
    ],
)
def test_invalid_gates(gated: TableSet, expression: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        fail_if(gated, expression)


def test_one_seed_cannot_fail_a_gate_and_says_so(tmp_path: Path) -> None:
    compared = compare(small(tmp_path, {"token": 0.1, "span": 0.9}, seeds=1))
    result = fail_if(compared, "token < span")
    assert not result.failed
    assert result.lines[0].endswith("a difference from one seed is never significant")
    assert fail_if(compared, "token.sense < 0.9").failed


def test_gates_take_names_as_the_table_shows_them(full: TableSet) -> None:
    assert not fail_if(full, "sense: span[mean_length=4] < causal, bidirectional").failed
    assert fail_if(full, "sense: causal, bidirectional < span[mean_length=4]").failed
    assert not fail_if(full, "agreement word_l2r: token < causal").failed


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    """Two objectives on eight tasks: different on the first three, equal on the others."""
    out = tmp_path_factory.mktemp("several")
    for number in range(8):
        levels = {"token": 0.5, "span": 0.9 if number < 3 else 0.52}
        for objective, level in levels.items():
            for seed in range(3):
                folder = out / "runs" / run_name(out, objective, seed)
                outcomes = answers(level, f"task_{number}", objective, seed)
                make_score(folder, f"task_{number}", outcomes)
    suites = {"near": [f"task_{i}" for i in (3, 4, 5)], "far": ["task_0", "task_1"]}
    return compare(out, suites=suites)


def run_name(out: Path, objective: str, seed: int) -> str:
    known = [run.folder.name for run in read_runs(out, [])]
    start = f"{objective}-tiny-s{seed}-"
    names = [name for name in known if name.startswith(start)]
    return names[0] if names else make_run(out, objective, seed).name


@pytest.mark.parametrize(
    ("expression", "failed", "lines"),
    [
        ("token < span", True, 8),
        ("far: token < span", True, 2),
        ("near: token < span", False, 3),
        ("aggregate: token < span", True, 1),
        ("aggregate far: token < span", True, 1),
        ("aggregate: token > span", False, 1),
        ("aggregate: token < 0.9", True, 1),
        ("aggregate: span < 0.9", False, 1),
    ],
)
def test_gates_over_suites_and_aggregates(
    several: TableSet, expression: str, failed: bool, lines: int
) -> None:
    result = fail_if(several, expression)
    assert result.failed is failed
    assert len(result.lines) == lines


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nera: token < span", "did you mean 'near'"),
        ("near: token < 0.5", "no common scale"),
        ("aggregate afar: token < span", "no suite named 'afar'"),
        ("aggregate near: token < span", "have no scores there to compare"),  # none above chance
    ],
)
def test_invalid_gates_over_suites(several: TableSet, expression: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        fail_if(several, expression)


def test_a_gate_over_several_tasks_is_corrected(tmp_path: Path) -> None:
    for seed in range(3):  # 5, 6 and 7 of 200 wrong against none: p = .029 by itself
        token, span = (make_run(tmp_path, name, seed) for name in ("token", "span"))
        make_score(token, "gap", [0.0] * (5 + seed) + [1.0] * (195 - seed))
        make_score(span, "gap", [1.0] * 200)
        for folder in (token, span):
            make_score(folder, "same", answers(0.5, "same", "both", 0))
    compared = compare(tmp_path)
    assert compared.tables[0].pairs("gap").p_values()[0, 1] == pytest.approx(0.0290831)
    assert fail_if(compared, "gap: token < span").failed
    among = fail_if(compared, "token < span")
    assert not among.failed
    assert among.lines[0].endswith("not significant over all tests together (Holm)")


def test_tests_in_several_tables_are_corrected_together(tmp_path: Path) -> None:
    """One of eight budgets shows a difference that alone would be significant."""
    for budget in range(1, 9):
        for name in ("token", "span"):
            for seed in range(3):
                folder = make_run(tmp_path, name, seed, budget_tokens=budget * 1e5)
                outcomes = answers(0.6, f"t{budget}", "both", seed, 300)
                if budget == 8 and name == "span":
                    ones = [i for i, outcome in enumerate(outcomes) if outcome]
                    for i in ones[:12]:
                        outcomes[i] = 0.0
                make_score(folder, "sense", outcomes)
    several = compare(tmp_path)
    (alone,) = [one for one in several.tables if "800k" in one.title]
    assert fail_if(dataclasses.replace(several, tables=[alone]), "span < token").failed
    result = fail_if(several, "span < token")
    assert not result.failed
    assert [line.split(",")[0] for line in result.lines] == [f"Table {n}" for n in range(1, 9)]


def test_an_objective_that_did_not_learn_fails_nothing(tmp_path: Path) -> None:
    for name, level, loss in (("token", 0.9, 2.0), ("span", 0.2, 6.0)):
        for seed in range(3):
            folder = make_run(tmp_path, name, seed, validation_loss=loss, unigram_loss=5.0)
            make_score(folder, "sense", answers(level, "sense", name, seed))
    result = fail_if(compare(tmp_path), "span < token")
    assert not result.failed
    assert result.lines == ["span: not tested, did not learn or did not finish"]


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("span.sense > 60", "lies between 0 and 1 .* write 0.6"),
        ("span < span", "compares span with itself"),
    ],
)
def test_a_gate_that_cannot_fail_is_refused(gate: str, words: str, tmp_path: Path) -> None:
    table_set = compare(small(tmp_path, {"token": 0.2, "span": 0.9}))
    with pytest.raises(BenchError, match=words):
        fail_if(table_set, gate)
    assert fail_if(table_set, "span.sense > 1e-1").failed
