"""A plugin runs in the process of its worker and can write where the worker reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.engines import events
from bench.engines.jobs import BaselinesJob, Evaluation, JobState, RunJob
from bench.engines.progress import _shown
from bench.engines.worker.worker_process import receive
from bench.probing.task import DataRoot

PROGRESS = events.Progress(0.5, 3, float("nan"), 100, 10.0).to_json()


@pytest.mark.parametrize(
    "forged",
    [
        *(PROGRESS | {"share": share} for share in (-1.0, 2.0, float("nan"))),
        PROGRESS | {"tokens_per_second": float("inf")},
        *({"event": "error", "message": "x", "exit_code": code} for code in (-1, 0, 256)),
    ],
)
def test_a_number_that_no_bar_and_no_exit_code_can_have_is_no_event(forged: Any) -> None:
    events.read_event(json.dumps(PROGRESS))
    with pytest.raises(ValueError, match="no event"):
        events.read_event(json.dumps(forged))


def test_a_run_that_is_not_there_is_not_done(tmp_path: Path, make_spec: Callable[..., Any]) -> None:
    evaluation = Evaluation(tmp_path, DataRoot())
    state = JobState(RunJob(make_spec()[0], evaluation), status="running")
    (tmp_path / "runs" / "token-tiny-s9-00000000").mkdir(parents=True)
    for claim in (None, state.job.id, "token-tiny-s9-00000000", "..", "../.."):
        receive(state, events.Done(claim, "finished"))
        assert (state.status, state.run_id) == ("running", None)
    os.mkdir(tmp_path / "runs" / state.job.id)
    receive(state, events.Done(state.job.id, "finished"))
    assert (state.status, state.run_id) == ("finished", state.job.id)
    baselines = JobState(BaselinesJob(evaluation), status="running")
    receive(baselines, events.Done(None, "finished"))
    assert baselines.status == "finished"


def test_escape_codes_of_a_plugin_do_not_reach_the_terminal() -> None:
    assert _shown("a\x1b[2Jb\u202ec\nd") == "a?[2Jb?c\nd"
