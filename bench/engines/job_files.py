"""The files of jobs: what is to be done, and how far it is.

    OUT/jobs/ID.json            the job; `bench work` reads it on any machine
    OUT/jobs/ID.progress.json   its state, replaced every two seconds by the process that works

They are all that engines share: a node that dies takes nothing with it but its process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.engines.events import (
    Alive,
    Done,
    Event,
    Failure,
    Note,
    Pretrained,
    Progress,
    Scoring,
    Started,
    event_of,
)
from bench.engines.jobs import Job, JobState, read_job
from bench.errors import BenchError
from bench.storage import write_atomic

WRITE_SECONDS = 2.0
"""Interval between two states of a job on disk."""
LOST_SECONDS = 60.0
"""A running job whose state is older has no process any more, or its machine is gone."""


def write_jobs(states: list[JobState]) -> None:
    """Write the files of jobs."""
    for state in states:
        state.file.parent.mkdir(parents=True, exist_ok=True)
        payload = json.dumps(state.job.to_json(), indent=1).encode()
        if not state.file.is_file() or state.file.read_bytes() != payload:
            write_atomic(state.file, payload)


def load_job(file: Path) -> Job:
    """The job of a file in `OUT/jobs/`.

    Raises:
        BenchError: No such file, no job, or this machine does not have its corpus.
    """
    out = file.resolve().parent.parent
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        return read_job(plain, out)
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BenchError(
            f"{file} is no job; `bench prepare` and `bench run --engine print` write them to "
            "OUT/jobs/"
        ) from None


def processes_of(file: Path) -> int:
    """The number of processes that share the run of a job; 1 where it is no run, or no job."""
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["processes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 1


def progress_file(file: Path) -> Path:
    """Where the state of a job lies."""
    return file.with_name(f"{file.stem}.progress.json")


class ProgressWriter:
    """Keeps the state of one job on disk, from the events of its process."""

    def __init__(self, file: Path, title: str) -> None:
        self._path = progress_file(file)
        self._state: dict[str, Any] = {
            "title": title,
            "status": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            "last": None,
            "events": [],
        }
        self._lock = threading.Lock()
        self._written = 0.0
        self.write()
        threading.Thread(target=self._beat, daemon=True).start()

    def __call__(self, event: Event) -> None:
        """Take in an event; progress waits for the next interval, everything else is written."""
        plain = event.to_json()
        if isinstance(event, Alive):
            return
        if isinstance(event, Progress | Scoring):
            self._state["last"] = plain
            if time.monotonic() - self._written < WRITE_SECONDS:
                return
        else:
            self._state["events"].append(plain)
        match event:
            case Failure():
                is_stop = event.exit_code in (75, 130)
                self._state["status"] = "stopped" if is_stop else "failed"
            case Done():
                self._state["status"] = event.status
        self.write()

    def write(self) -> None:
        """Replace the state on disk; a full disk costs the state, not the run."""
        with self._lock, contextlib.suppress(BenchError, OSError):
            self._written = time.monotonic()
            payload = json.dumps(self._state | {"updated": time.time()})
            write_atomic(self._path, payload.encode())

    def _beat(self) -> None:
        """Show that the process lives, although a long step reports nothing."""
        while self._state["status"] == "running":
            time.sleep(LOST_SECONDS / 6)
            self.write()


@dataclasses.dataclass(frozen=True)
class JobProgress:
    """The state of one job on disk."""

    id: str
    title: str
    status: str
    """waiting, running, lost, finished, diverged, stopped or failed."""
    share: float | None = None
    """Of the budget; None before the first step."""
    tokens_per_second: float | None = None
    detail: str = ""
    """The task that is being scored, or why the job failed."""
    host: str = ""
    events: tuple[Event, ...] = ()
    last: Event | None = None
    exit_code: int = 0
    run_id: str | None = None
    started: float | None = None
    """Seconds since 1970; it tells one start of a job from the next."""


def read_progress(file: Path, now: float | None = None) -> JobProgress:
    """The state of the job of a file."""
    now = time.time() if now is None else now
    try:
        plain = json.loads(progress_file(file).read_text(encoding="utf-8"))
        events = tuple(event_of(one) for one in plain["events"])
        last = None if plain["last"] is None else event_of(plain["last"])
        title, status, host = plain["title"], plain["status"], plain["host"]
        started, updated = float(plain["started"]), float(plain["updated"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return JobProgress(file.stem, file.stem, "waiting")
    if status == "running" and now - updated > LOST_SECONDS:
        status = "lost"
    failure = next((one for one in reversed(events) if isinstance(one, Failure)), None)
    done = next((one for one in events if isinstance(one, Done)), None)
    is_pretrained = any(isinstance(one, Pretrained) for one in events)
    detail = f"scoring {last.task}" if isinstance(last, Scoring) and status == "running" else ""
    return JobProgress(
        file.stem,
        str(title),
        str(status),
        1.0 if is_pretrained else last.share if isinstance(last, Progress) else None,
        last.tokens_per_second if isinstance(last, Progress) else None,
        failure.message if failure and status in ("failed", "stopped") else detail,
        str(host),
        events,
        last,
        failure.exit_code if failure else 0,
        None if done is None else done.run_id,
        started,
    )


def all_progress(out: Path) -> list[JobProgress]:
    """The state of all jobs of a folder of records."""
    folder = out / "jobs"
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [read_progress(file) for file in files if not file.name.endswith(".progress.json")]


class FileWatch:
    """The events of a job of another machine, read from its file."""

    def __init__(self, state: JobState) -> None:
        self._state = state
        self._start: float | None = None
        self._num_seen = 0
        self._last: Event | None = None

    def events(self) -> Iterator[Event]:
        """The events since the last call."""
        progress = read_progress(self._state.file)
        if progress.started is None:
            return
        if progress.started != self._start:
            is_first, self._start = self._start is None, progress.started
            self._num_seen, self._last = 0, None
            yield Started() if is_first else Note(f"started again on {progress.host}")
        if progress.last is not None and progress.last != self._last:
            self._last = progress.last
            yield progress.last
        yield from progress.events[self._num_seen :]
        self._num_seen = len(progress.events)
