"""The engine of one machine: as many workers side by side as there are cores for.

Workers draw nothing themselves. They report, and the parent process draws one picture of them all.
With a budget in seconds they run one at a time, because neighbours would spend each other's time.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.engines.events import Done, Ended, Event, Failure, Started, read_event
from bench.engines.jobs import JobState

SILENCE_SECONDS = 3600.0
"""A worker that reports nothing for so long is taken to hang (BENCH_SILENCE_SECONDS)."""

Watcher = Callable[[JobState, Event], None]
_Reports = queue.Queue[tuple[JobState, Event]]


def run_jobs(states: list[JobState], workers: int, threads: int, watch: Watcher) -> None:
    """Run all jobs, at most `workers` at once, and set the status of each.

    A SIGTERM or ^C is passed on: workers save their state, and no further job is started. Only the
    main thread can receive signals, so a call from another thread installs no handler.

    Args:
        states: The jobs in the order to start them; changed in place.
        workers: Number of processes at once.
        threads: Threads of the numerical libraries of each worker.
        watch: Called with every report, in this thread.
    """
    reports: _Reports = queue.Queue()
    running: dict[str, subprocess.Popen[str]] = {}
    last_report: dict[str, float] = {}
    waiting = list(states)
    with _signals_passed_on(running) as signals:
        while running or (waiting and not signals):
            while waiting and len(running) < workers and not signals:
                state = waiting.pop(0)
                running[state.job.id] = _start(state, threads, reports)
                last_report[state.job.id] = time.monotonic()
                watch(state, Started())
            try:
                state, event = reports.get(timeout=1.0)
            except queue.Empty:
                _kill_silent_workers(running, last_report)
                continue
            last_report[state.job.id] = time.monotonic()
            _update(state, event, running)
            watch(state, event)
    for state in states if signals else ():
        if state.status != "finished":
            state.status = "stopped"
            state.exit_code = 130 if signals[0] == signal.SIGINT else 75


@contextlib.contextmanager
def _signals_passed_on(running: dict[str, subprocess.Popen[str]]) -> Iterator[list[int]]:
    """Pass SIGTERM and SIGINT on to the workers; yields the list of signals received."""
    signals: list[int] = []

    def pass_on(number: int, _frame: Any) -> None:
        signals.append(number)
        for process in list(running.values()):
            _signal_group(process, number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if is_main else ()
    previous = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for process in running.values():
            _signal_group(process, signal.SIGKILL)


def _update(state: JobState, event: Event, running: dict[str, subprocess.Popen[str]]) -> None:
    """Set what an event says of its job."""
    match event:
        case Ended():
            process = running.pop(state.job.id)
            _signal_group(process, signal.SIGKILL)  # a plugin may have left children running
            _settle(state, process.wait())
        case Failure():
            state.message, state.exit_code = event.message, event.exit_code
        case Done():
            state.status, state.run_id = event.status, event.run_id


def _start(state: JobState, threads: int, reports: _Reports) -> subprocess.Popen[str]:
    """Start a worker in its own process group, and threads that pass on its reports.

    A group of its own: ^C reaches the worker once, through this process, and not a second time from
    the terminal. With `-P`, and our own folder last on its path, a `token.py` in the user's folder
    is not imported.
    """
    environment = os.environ | {
        name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    }
    root = str(Path(__file__).resolve().parents[2])
    program = (
        f"import sys; sys.path.append({root!r}); "
        "from bench.engines.worker import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        process_group=0,
    )
    state.status = "running"
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; the `Ended` event reports that
        process.stdin.write(json.dumps(state.job.to_json()))
        process.stdin.close()
    reader = threading.Thread(target=_read, args=(state, process, reports), daemon=True)
    reader.start()

    def wait() -> None:
        process.wait()
        reader.join(timeout=2.0)  # a child of a plugin may hold the pipe open
        reports.put((state, Ended()))

    threading.Thread(target=wait, daemon=True).start()
    return process


def _read(state: JobState, process: subprocess.Popen[str], reports: _Reports) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            with contextlib.suppress(ValueError):  # half a line of a worker that was killed
                reports.put((state, read_event(line)))


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _kill_silent_workers(
    running: dict[str, subprocess.Popen[str]], last_report: dict[str, float]
) -> None:
    """Kill workers that have reported nothing for very long: a plugin hangs."""
    limit = float(os.environ.get("BENCH_SILENCE_SECONDS", SILENCE_SECONDS))
    for job_id, process in running.items():
        if time.monotonic() - last_report[job_id] > limit:
            _signal_group(process, signal.SIGKILL)


def _settle(state: JobState, status: int) -> None:
    """Set the status of a job whose worker ended without reporting one.

    Args:
        state: The job.
        status: The worker's exit status; below 0 the signal that killed it.
    """
    if status == 0 and state.status != "running":
        return
    state.status = "stopped" if state.exit_code in (75, 130) else "failed"
    state.exit_code = state.exit_code or max(status, 1)
    if state.message is None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        state.message = (
            f"the worker {how} and reported no reason: a plugin crashed, a plugin hung for longer "
            "than BENCH_SILENCE_SECONDS, or the memory was exhausted"
        )
