"""The engine of one machine: as many jobs side by side as its cores and GPUs allow.

Workers draw nothing themselves. They report, and the parent process draws one picture of them all.
Each run on a GPU sees one GPU and no other. With a budget in seconds runs go one at a time, because
neighbours would spend each other's time.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.engines import refuse_options
from bench.engines.events import Ended, Event, Note, Started
from bench.engines.job_files import processes_of
from bench.engines.jobs import JobState, Resources
from bench.engines.worker.template import Template
from bench.engines.worker.worker_process import (
    WorkerProcess,
    is_retried,
    receive,
    settle,
    worker_environment,
)
from bench.errors import BenchError
from bench.machine import cores, silence_seconds, visible_gpus

if TYPE_CHECKING:
    from bench.engines import Watcher


class Engine:
    """Runs jobs on this machine."""

    waits = True

    def __init__(self, options: Mapping[str, str]) -> None:
        refuse_options("local", options)

    def resources(self) -> Resources:
        """All cores and GPUs that this process may use."""
        return Resources(cores(), len(visible_gpus()))

    def run_jobs(self, states: list[JobState], resources: Resources, watch: Watcher) -> None:
        """Run all jobs, as many at once as fit.

        A SIGTERM or ^C is passed on: workers save their state, and no further job is started. Only
        the main thread can receive signals, so a call from another thread installs no handler.
        """
        most = max((state.job.resources.gpus for state in states), default=0)
        if most > max(resources.gpus, 1):
            raise BenchError(
                f"--gpus-per-run {most}: this machine has {resources.gpus} GPUs; give at most so "
                "many, or use --engine slurm or ray"
            )
        silence_seconds()
        machine = _Machine(resources)
        waiting = list(states)
        with _signals_passed_on(machine) as signals:
            while machine.running or (waiting and not signals):
                while not signals and (state := machine.next_of(waiting)):
                    waiting.remove(state)
                    again = f"started again after signal {-state.exit_code}"
                    watch(state, Note(again) if state.num_starts else Started())
                    machine.start(state)
                    if signals:  # it came while the worker was not yet in the list
                        machine.running[state.job.id].signal(signals[0])
                try:
                    state, event = machine.reports.get(timeout=1.0)
                except queue.Empty:
                    machine.kill_silent()
                    continue
                if isinstance(event, Ended):
                    process = machine.running[state.job.id]
                    status, is_silent = machine.end(state)
                    may_retry = not signals and not is_silent and status < 0
                    if may_retry and is_retried(status, state.num_starts):
                        waiting.insert(0, state)
                        state.exit_code = status
                        continue
                    settle(state, status, process.ran_out_of_memory and not is_silent)
                receive(state, event)
                watch(state, event)
        for state in states if signals else ():
            if state.status != "finished":
                state.status = "stopped"
                state.exit_code = 130 if signals[0] == signal.SIGINT else 75


class _Machine:
    """The running workers, with the cores and GPUs that they use."""

    def __init__(self, resources: Resources) -> None:
        self.reports: queue.Queue[tuple[JobState, Event]] = queue.Queue()
        self.running: dict[str, WorkerProcess] = {}
        self._resources = resources
        self._free_cpus = resources.cpus
        self._free_gpus = visible_gpus()[: resources.gpus]
        self._used: dict[str, tuple[JobState, list[str]]] = {}
        self._last_report: dict[str, float] = {}
        self._silent: set[str] = set()
        self._templates: dict[int, Template] = {}

    def next_of(self, waiting: list[JobState]) -> JobState | None:
        """The first job that may start now."""
        return next((state for state in waiting if self._fits(state)), None)

    def _fits(self, state: JobState) -> bool:
        if not self.running:
            return True
        if state.job.is_alone or any(other.job.is_alone for other, _ in self._used.values()):
            return False
        needed = state.job.resources
        if needed.gpus:  # its cores mostly wait for the GPU
            return needed.gpus <= len(self._free_gpus)
        return needed.cpus <= self._free_cpus

    def start(self, state: JobState) -> None:
        """Start a job on free cores and GPUs."""
        needed, job_id = state.job.resources, state.job.id
        gpus, self._free_gpus = self._free_gpus[: needed.gpus], self._free_gpus[needed.gpus :]
        self._free_cpus -= 0 if needed.gpus else needed.cpus
        self._used[job_id] = (state, gpus)
        self._last_report[job_id] = time.monotonic()
        state.status, state.num_starts, state.exit_code = "running", state.num_starts + 1, 0
        self.running[job_id] = WorkerProcess(
            state.file,
            needed,
            lambda event: self._receive(state, event),
            lambda: self.reports.put((state, Ended())),
            {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {},
            self._template(needed) if self._may_fork(state) else None,
        )

    def _may_fork(self, state: JobState) -> bool:
        """Whether a fork can do the job: a process that starts ranks repeats its command line."""
        is_plain = not state.job.resources.gpus and processes_of(state.file) == 1
        return is_plain and sys.platform == "linux"

    def _template(self, resources: Resources) -> Template:
        """The template of workers with these cores, as libraries read their number at import."""
        if resources.cpus not in self._templates:
            self._templates[resources.cpus] = Template(worker_environment(resources))
        return self._templates[resources.cpus]

    def close(self) -> None:
        """Kill what still runs, and end the templates."""
        self.signal(signal.SIGKILL)
        for template in self._templates.values():
            template.close()

    def _receive(self, state: JobState, event: Event) -> None:
        self._last_report[state.job.id] = time.monotonic()
        self.reports.put((state, event))

    def end(self, state: JobState) -> tuple[int, bool]:
        """Free what an ended job used; its exit status, and whether it was killed as silent."""
        job_id, needed = state.job.id, state.job.resources
        status = self.running.pop(job_id).wait()
        _, gpus = self._used.pop(job_id)
        self._free_gpus = sorted([*self._free_gpus, *gpus])
        self._free_cpus += 0 if needed.gpus else needed.cpus
        return status, job_id in self._silent

    def signal(self, number: int) -> None:
        """Send a signal to all workers."""
        for process in list(self.running.values()):
            process.signal(number)

    def kill_silent(self) -> None:
        """Kill workers that have reported nothing for very long: a plugin hangs."""
        limit = silence_seconds()
        for job_id, process in self.running.items():
            if time.monotonic() - self._last_report[job_id] > limit:
                self._silent.add(job_id)
                process.signal(signal.SIGKILL)


@contextlib.contextmanager
def _signals_passed_on(machine: _Machine) -> Iterator[list[int]]:
    """Pass SIGTERM and SIGINT on to the workers; yields the list of signals received."""
    signals: list[int] = []

    def pass_on(number: int, _frame: Any) -> None:
        signals.append(number)
        machine.signal(number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    previous = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        machine.close()
