"""Workers that are forked from a process with everything imported."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engines.events import Event, Failure
from bench.engines.jobs import Resources
from bench.engines.worker.template import Template
from bench.engines.worker.worker_process import WorkerProcess, worker_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only"),
]


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    made = Template(worker_environment(Resources(1)))
    yield made
    made.close()


def test_a_forked_worker_reports_and_ends_with_its_status(
    template: Template, tmp_path: Path
) -> None:
    events: list[Event] = []
    worker = WorkerProcess(
        tmp_path / "missing.json", Resources(1), events.append, template=template
    )
    assert worker.wait() == 2
    assert isinstance(events[0], Failure)
    assert "missing.json" in events[0].message


def test_workers_have_process_groups_of_their_own(template: Template, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.json")  # opening it blocks, so the worker lives
    workers = [
        WorkerProcess(tmp_path / "job.json", Resources(1), lambda event: None, template=template)
        for _ in range(2)
    ]
    first, second = (worker._process.pid for worker in workers)
    assert {os.getpgid(first), os.getpgid(second)} == {first, second}
    workers[0].signal(signal.SIGKILL)
    assert workers[0].wait() == -signal.SIGKILL
    assert workers[1]._status is None
    workers[1].signal(signal.SIGKILL)
    assert workers[1].wait() == -signal.SIGKILL


def test_a_killed_template_is_replaced_by_processes_of_their_own(tmp_path: Path) -> None:
    killed = Template(worker_environment(Resources(1)))
    os.kill(killed._process.pid, signal.SIGKILL)
    killed._process.wait()
    worker = WorkerProcess(
        tmp_path / "missing.json", Resources(1), lambda event: None, template=killed
    )
    assert worker.wait() == 2
    killed.close()


def test_workers_end_when_their_template_is_killed(tmp_path: Path) -> None:
    killed = Template(worker_environment(Resources(1)))
    os.mkfifo(tmp_path / "job.json")
    worker = WorkerProcess(tmp_path / "job.json", Resources(1), lambda event: None, template=killed)
    time.sleep(1.0)  # until it has asked for the signal
    os.kill(killed._process.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    killed.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_handlers_is_kept_for_them(
    template: Template, tmp_path: Path, number: signal.Signals
) -> None:
    for _ in range(5):
        worker = WorkerProcess(
            tmp_path / "missing.json", Resources(1), lambda event: None, template=template
        )
        os.kill(worker._process.pid, number)
        assert worker.wait() == 2  # as without a signal; before it was killed without a word
