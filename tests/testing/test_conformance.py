"""The two uses of the kit: a report of `bench check`, and tests for pytest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.objectives.token import Token
from bench.objectives.untrained import Untrained
from bench.tasks.agreement import Agreement
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError
from bench.probing.task import NotApplicableError
from bench.testing import (
    OBJECTIVE_CHECKS,
    TASK_CHECKS,
    ContractError,
    SyntheticReader,
    Unchecked,
    checks_of,
    examine,
    parametrize_with_checks,
)
from bench.testing import conformance as kit
from bench.testing.findings import Finding, demand, place
from bench.testing.report import ItemReport, Report, data_root, exit_code, items_named, render


def fails(item: object) -> None:
    """Always fails."""
    demand(False, "the moon", "a cheese", place(item))


def lacks(item: object) -> None:
    """Always lacks its data."""
    raise Unchecked("no data: give some")


def holds(item: object) -> None:
    """Always passes."""


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


def test_every_check_on_every_item_is_one_test() -> None:
    cases = parametrize_with_checks([Token, Token(rate=0.3), Agreement]).args[1]
    assert len(cases) == 2 * len(OBJECTIVE_CHECKS) + len(TASK_CHECKS)
    ids = [case.id for case in cases]
    assert len(set(ids)) == len(ids)
    assert "token-hidden_tokens" in ids
    assert "token[rate=0.3]-hidden_tokens" in ids
    assert "agreement-random_features" in ids


def test_pytest_skips_a_check_without_data_and_reports_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit, "OBJECTIVE_CHECKS", (holds, fails, lacks))
    (item, first), (_, second), (_, third) = (
        case.values for case in parametrize_with_checks([Untrained]).args[1]
    )
    first(item)
    with pytest.raises(
        ContractError, match=r"expected the moon; saw a cheese; look at Untrained \(untr"
    ):
        second(item)
    with pytest.raises(pytest.skip.Exception, match="give some"):
        third(item)


def test_exit_codes_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = {}
    for checks, code in (((holds,), 0), ((holds, lacks), 4), ((holds, lacks, fails), 1)):
        monkeypatch.setattr(kit, "OBJECTIVE_CHECKS", checks)
        done = CliRunner().invoke(app, ["check", "untrained"])
        assert done.exit_code == code
        outputs[code] = done.stdout
    assert outputs[0].splitlines() == ["untrained (objective)", "  ok    holds", "1 passed"]
    for part in ("FAIL  fails", "expected the moon; saw a cheese", "not checked: no data: give"):
        assert part in outputs[1]
    assert outputs[1].splitlines()[-1] == "1 passed, 1 failed, 1 not checked"


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "OBJECTIVE_CHECKS", (holds, fails))
    arguments = ["check", "token", "--set", "token.rate=0.3", "--json"]
    items = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert items[0]["name"] == "token[rate=0.3]"
    assert [f["status"] for f in items[0]["findings"]] == ["passed", "failed"]


def test_a_repeated_reason_is_shown_once() -> None:
    findings = [Finding(name, "not checked", "no data: x") for name in "ab"]
    report = Report([ItemReport("task", "t", findings)])
    text = render(report)
    assert text.count("no data: x") == 1
    assert "as above" in text
    assert exit_code(report) == 4


@pytest.mark.parametrize(
    ("name", "overrides", "says"),
    [
        ("spam", (), "no objective or task named 'spam'; did you mean 'span'"),
        ("span", ("token.rate=1",), "only 'span' is checked"),
        ("span", ("span.rate=7",), "span.rate"),
        ("classify:nowhere.csv", (), "nowhere.csv"),
    ],
)
def test_an_unknown_item_or_setting_is_refused(
    name: str, overrides: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BenchError, match=says):
        items_named(name, overrides)


def test_another_type_and_a_missing_folder_are_refused() -> None:
    with pytest.raises(BenchError, match=r"int is neither a bench\.Objective nor a bench\.Task"):
        checks_of(3)
    with pytest.raises(BenchError, match="no such folder"):
        data_root(Path("nowhere"), None, None)


@pytest.mark.slow
def test_a_task_of_a_user_file_is_checked(tmp_path: Path) -> None:
    rows = "".join(f"text {i} of mine,{'ab'[i % 2]}\n" for i in range(120))
    (tmp_path / "mine.csv").write_text("text,label\n" + rows)
    task = items_named(f"classify:{tmp_path}/mine.csv")[0]
    findings = {finding.check: finding for finding in examine(task)}
    assert findings["planted_features"].status == "passed"
    assert findings["outcomes"].status == "passed"


@pytest.mark.slow
def test_import_of_a_heavy_package_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(__file__).parent.joinpath("checks", "faulty_objectives.py").read_text()
    body = source[source.index("@settings\nclass Fine(") : source.index("@settings\nclass FineC")]
    head = source[source.index("from __future__") : source.index("@settings\nclass Fine(")]
    (tmp_path / "weighty.py").write_text(f"{head}\nTABLE = torch.zeros(3)\n{body}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import importlib

    findings = examine(importlib.import_module("weighty").Fine)
    failed = [finding for finding in findings if finding.status == "failed"]
    assert [finding.check for finding in failed] == ["light_import"]
    assert "saw torch loaded at import" in failed[0].message


def test_the_reader_of_the_kit_fills_as_a_run_does() -> None:
    reader = SyntheticReader()
    result = reader.fill("the [MASK] sat on the [MASK]", 3)
    assert [len(place) for place in result.places] == [3, 3]
    assert "[MASK]" not in result.text
    assert not result.is_continued
    assert reader.fill("the cat", 2).is_continued
    with pytest.raises(NotApplicableError):
        SyntheticReader(scoring=None).fill("the [MASK]")
