"""A few cases of the fuzz (`python -m tests.fuzz`), so that it keeps working."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import outcome
from tests.fuzz.kinds import KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_some_hostile_input(kind: str) -> None:
    number = 3 if kind == "records" else 25
    outcomes = [outcome(kind, 0, case) for case in range(number)]
    assert not [how for _, how in outcomes if how]
    assert any(what == "accepted" for what, _ in outcomes) or kind in ("labels", "settings")


@pytest.mark.parametrize("fault", [ZeroDivisionError("x"), KeyError("x")])
def test_another_error_is_found(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setitem(KINDS, "settings", broken)
    what, how = outcome("settings", 0, 0)
    assert what == "traceback"
    assert type(fault).__name__ in how


def test_an_endless_case_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> None:
        while True:
            pass

    monkeypatch.setitem(KINDS, "settings", endless)
    monkeypatch.setattr("tests.fuzz.__main__.SECONDS", 0.1)
    assert outcome("settings", 0, 0)[0] == "hang"
