"""The common part of the engines of other machines: start a job there, follow it from here."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.events import Ended
from bench.engines.job_files import FileWatch, read_progress
from bench.engines.jobs import JobState, Resources
from bench.engines.worker.worker_process import WorkerProcess, receive, settle

if TYPE_CHECKING:
    from bench.engines import Watcher

POLL_SECONDS = 0.5


def run_here(file: Path, resources: Resources) -> int:
    """Do a job in a process of its own on this machine, and return its exit status.

    If this process is interrupted, the job saves its state first.
    """
    process = WorkerProcess(file, resources, lambda event: None)
    try:
        return process.wait()
    except BaseException:
        process.signal(signal.SIGTERM)
        process.wait()
        raise


class Following:
    """Reads the progress files of jobs, and passes their events on."""

    def __init__(self, states: list[JobState], watch: Watcher) -> None:
        self._watches = [(state, FileWatch(state)) for state in states]
        self._watch = watch

    def until(self, is_done: Callable[[], bool]) -> None:
        """Pass events on until the engine says that all jobs are done."""
        while not is_done():
            self.look()
            time.sleep(POLL_SECONDS)
        self.look()

    def look(self) -> None:
        """Pass on what is new."""
        for state, file in self._watches:
            for event in file.events():
                receive(state, event)
                self._watch(state, event)

    def end(self, state: JobState, status: int, message: str | None = None) -> None:
        """Set the status of a job whose process ended.

        Args:
            state: The job.
            status: The exit status of its process.
            message: Why no process ran, if none did.
        """
        progress = read_progress(state.file)
        if status == 0 and progress.status in ("finished", "diverged"):
            state.status, state.run_id = progress.status, progress.run_id  # type: ignore[assignment]
        elif progress.status in ("failed", "stopped"):
            state.message, state.exit_code = progress.detail, progress.exit_code
        if message is not None and state.message is None:
            state.message = message
        settle(state, status)
        self._watch(state, Ended())
