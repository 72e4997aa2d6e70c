"""What a planted fault does to the checks of the conformance kit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bench.testing import check_light_import
from bench.testing.findings import find, short_name

Check = Callable[[Any], None]


def by_name(checks: Iterable[Check]) -> dict[str, Check]:
    """The checks that take no process of their own."""
    return {short_name(check): check for check in checks if check is not check_light_import}


def failed(item: Any, checks: dict[str, Check]) -> list[str]:
    """The names of those that the item fails."""
    found = [find(check, item) for check in checks.values()]
    return [one.check for one in found if one.status == "failed"]


def said(item: Any, check: Check) -> str:
    """What a check that the item fails says of it: expected, seen, where to look."""
    found = find(check, item)
    assert found.status == "failed"
    for part in ("expected ", "; saw ", "; look at "):
        assert part in found.message
    return found.message
