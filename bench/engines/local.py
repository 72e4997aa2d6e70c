"""The engine of one machine: as many workers side by side as there are cores for.

Workers draw nothing themselves; they report, and the parent draws one picture of all of them.
With a budget in seconds they run one at a time, since neighbours would spend each other's time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

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


def run_jobs(jobs: list[Job], side_by_side: int, threads: int, watch: Watcher) -> None:
    """Run all jobs, at most `side_by_side` at once, and set what became of each.

    A SIGTERM or ^C is passed on; workers save their state, and no further job is begun.

    Args:
        jobs: In the order to begin them; changed in place.
        side_by_side: Workers at once.
        threads: For the numerical libraries of each worker.
        watch: Told of every report, in this thread.
    """
    reports: queue.Queue[tuple[Job, dict[str, Any]]] = queue.Queue()
    running: dict[str, subprocess.Popen[str]] = {}
    waiting = list(jobs)
    stopping = threading.Event()

    def pass_on(number: int, _frame: Any) -> None:
        stopping.set()
        for process in list(running.values()):
            if process.poll() is None:
                process.send_signal(number)

    before = {n: signal.signal(n, pass_on) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        while running or (waiting and not stopping.is_set()):
            while waiting and len(running) < side_by_side and not stopping.is_set():
                job = waiting.pop(0)
                running[job.title] = _start(job, threads, reports)
                watch(job, {"event": "started"})
            job, event = reports.get()
            if event is _END:
                _settle(job, running.pop(job.title).wait())
            elif event["event"] == "error":
                job.message, job.exit_code = event["message"], event["exit_code"]
            elif event["event"] == "done":
                job.status, job.run = event["status"], event["run"]
            watch(job, event)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in running.values():
            process.kill()


def _start(
    job: Job, threads: int, reports: queue.Queue[tuple[Job, dict[str, Any]]]
) -> subprocess.Popen[str]:
    """Start a worker in its own process group and a thread that reads its reports.

    A group of its own: ^C reaches it once, through us, and not a second time from the terminal.
    """
    environment = os.environ | {
        name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.engines.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        process_group=0,
    )
    job.status = "running"

    def read(lines: Iterable[str]) -> None:
        for line in lines:
            reports.put((job, json.loads(line)))
        reports.put((job, _END))

    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job.payload))
    process.stdin.close()
    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    return process


def _settle(job: Job, returned: int) -> None:
    """What a worker's end means, where it said nothing itself."""
    if returned == 0 and job.status != "running":
        return
    job.status = "stopped" if job.exit_code in (75, 130) else "failed"
    job.exit_code = job.exit_code or max(returned, 1)
    if job.message is None:
        how = f"killed by signal {-returned}" if returned < 0 else f"ended with status {returned}"
        job.message = f"the worker was {how} without a word: a crash in a plugin or no memory left"
