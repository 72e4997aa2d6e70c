"""Checks of the conformance kit on an item with a planted fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bench.testing import check_light_import
from bench.testing.findings import run_check, short_name

Check = Callable[[Any], None]


def by_name(checks: Iterable[Check]) -> dict[str, Check]:
    """The checks by short name, without the one that starts a process."""
    return {short_name(check): check for check in checks if check is not check_light_import}


def failed_checks(item: Any, checks: dict[str, Check]) -> list[str]:
    """The names of the checks that the item fails."""
    findings = [run_check(check, item) for check in checks.values()]
    return [finding.check for finding in findings if finding.status == "failed"]


def failure_message(item: Any, check: Check) -> str:
    """The message of a check that the item fails: expected, seen, where to look."""
    finding = run_check(check, item)
    assert finding.status == "failed"
    for part in ("expected ", "; saw ", "; look at "):
        assert part in finding.message
    return finding.message
