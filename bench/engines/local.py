"""The engine of one machine: as many workers side by side as there are cores for.

Workers draw nothing themselves; they report, and the parent draws one picture of all of them.
With a budget in seconds they run one at a time, since neighbours would spend each other's time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SILENCE_SECONDS = 3600.0
"""After so long without a report a worker is taken to hang (BENCH_SILENCE_SECONDS)."""

_END = {"event": "end"}


@dataclasses.dataclass
class Job:
    """A worker's work and what became of it."""

    title: str
    payload: dict[str, Any]
    status: str = "waiting"
    message: str | None = None
    exit_code: int = 0
    run: str | None = None


Watcher = Callable[[Job, dict[str, Any]], None]


def run_jobs(jobs: list[Job], workers: int, threads: int, watch: Watcher) -> None:
    """Run all jobs, at most `workers` at once, and set what became of each.

    A SIGTERM or ^C is passed on; workers save their state, and no further job is begun.

    Args:
        jobs: In the order to begin them; changed in place.
        workers: Processes at once.
        threads: For the numerical libraries of each worker.
        watch: Told of every report, in this thread.
    """
    reports: queue.Queue[tuple[Job, dict[str, Any]]] = queue.Queue()
    running: dict[str, subprocess.Popen[str]] = {}
    heard: dict[str, float] = {}
    waiting = list(jobs)
    signals: list[int] = []

    def pass_on(number: int, _frame: Any) -> None:
        signals.append(number)
        for process in list(running.values()):
            _signal_group(process, number)

    before = {n: signal.signal(n, pass_on) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        while running or (waiting and not signals):
            while waiting and len(running) < workers and not signals:
                job = waiting.pop(0)
                running[job.title] = _start(job, threads, reports)
                heard[job.title] = time.monotonic()
                watch(job, {"event": "started"})
            try:
                job, event = reports.get(timeout=1.0)
            except queue.Empty:
                _end_the_silent(running, heard)
                continue
            heard[job.title] = time.monotonic()
            _note(job, event, running)
            watch(job, event)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in running.values():
            _signal_group(process, signal.SIGKILL)
    for job in jobs if signals else ():
        if job.status != "finished":
            job.status, job.exit_code = "stopped", 130 if signals[0] == signal.SIGINT else 75


def _note(job: Job, event: dict[str, Any], running: dict[str, subprocess.Popen[str]]) -> None:
    """Keep what a report says of its job."""
    if event is _END:
        process = running.pop(job.title)
        _signal_group(process, signal.SIGKILL)  # what it may have left running
        _settle(job, process.wait())
    elif event["event"] == "error":
        job.message, job.exit_code = event["message"], event["exit_code"]
    elif event["event"] == "done":
        job.status, job.run = event["status"], event["run"]


def _start(
    job: Job, threads: int, reports: queue.Queue[tuple[Job, dict[str, Any]]]
) -> subprocess.Popen[str]:
    """Start a worker in its own process group, and threads that pass on what it says.

    A group of its own: ^C reaches it once, through us, and not a second time from the terminal.
    `-P`, and our own folder last on its path: a `token.py` where the user stands is not imported.
    """
    environment = os.environ | {
        name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    }
    root = str(Path(__file__).resolve().parents[2])
    begin = (
        f"import sys; sys.path.append({root!r}); "
        "from bench.engines.worker import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", begin],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        process_group=0,
    )
    job.status = "running"
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; its end says so
        process.stdin.write(json.dumps(job.payload))
        process.stdin.close()
    reader = threading.Thread(target=_read, args=(job, process, reports), daemon=True)
    reader.start()

    def wait() -> None:
        process.wait()
        reader.join(timeout=2.0)  # a child of a plugin may hold the pipe open
        reports.put((job, _END))

    threading.Thread(target=wait, daemon=True).start()
    return process


def _read(
    job: Job,
    process: subprocess.Popen[str],
    reports: queue.Queue[tuple[Job, dict[str, Any]]],
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):  # half a line of one that was killed
            reports.put((job, json.loads(line)))


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_the_silent(running: dict[str, subprocess.Popen[str]], heard: dict[str, float]) -> None:
    """End workers that have not said a word for very long: a plugin hangs."""
    limit = float(os.environ.get("BENCH_SILENCE_SECONDS", SILENCE_SECONDS))
    for title, process in running.items():
        if time.monotonic() - heard[title] > limit:
            _signal_group(process, signal.SIGKILL)


def _settle(job: Job, returned: int) -> None:
    """What a worker's end means, where it said nothing itself."""
    if returned == 0 and job.status != "running":
        return
    job.status = "stopped" if job.exit_code in (75, 130) else "failed"
    job.exit_code = job.exit_code or max(returned, 1)
    if job.message is None:
        how = f"killed by signal {-returned}" if returned < 0 else f"ended with status {returned}"
        job.message = (
            f"the worker was {how} without a word: a plugin crashed or hung (over "
            f"BENCH_SILENCE_SECONDS), or no memory was left"
        )
