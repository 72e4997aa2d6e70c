from __future__ import annotations

import pytest

from bench.api import Outcome
from bench.engines.local import Job


def job(status: str, exit_code: int = 0, objective: str = "span", kind: str = "run") -> Job:
    payload = {"kind": kind, "spec": {"objective": objective}}
    return Job("title", payload, status=status, exit_code=exit_code)


CONTROL, CONTROLS = job("finished", objective="untrained"), job("finished", kind="baselines")


@pytest.mark.parametrize(
    ("jobs", "code"),
    [
        ([job("finished")], 0),
        ([job("failed", 1), job("finished")], 4),
        ([job("diverged"), job("finished")], 4),
        ([job("diverged")], 4),
        ([job("failed", 1)], 1),
        ([job("failed", 3), job("failed", 3)], 3),  # all refused: that is the answer
        ([job("failed", 3), job("failed", 1)], 1),
        ([job("stopped", 75), job("failed", 1)], 75),
        ([job("stopped", 130)], 130),
        ([job("finished"), job("failed", 1, kind="baselines")], 4),
    ],
)
def test_exit_code(jobs: list[Job], code: int) -> None:
    assert Outcome([*jobs, CONTROL, CONTROLS], []).exit_code == code


def test_the_control_counts_where_nothing_else_was_asked() -> None:
    assert Outcome([job("failed", 3, objective="untrained")], []).exit_code == 3
