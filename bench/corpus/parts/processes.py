"""Folders of jobs, each done by a process of its own, some of them at once.

`multiprocessing` starts its processes by importing the user's main module again, which runs a
script that has no guard a second time. Here a process is a command, as in `bench.engines.worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from bench.errors import BenchError, FailedError
from bench.storage import write_atomic

JOB, RESULT = "job.json", "result.json"
_POLL_SECONDS = 0.02


def write_job(folder: Path, job: dict[str, Any]) -> Path:
    """Create the folder of a job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
    return folder


def run_jobs(folders: Iterable[Path], at_once: int) -> Generator[tuple[Path, dict[str, Any]]]:
    """Do jobs; the folder and the result of each, in the order in which they end.

    All processes are killed where the caller stops early: close this generator.

    Args:
        folders: From `write_job`; a folder is asked for when a process is free.
        at_once: Number of processes.

    Raises:
        BenchError: The error of a job.
        FailedError: A process was killed.
    """
    waiting, running = iter(folders), dict[Path, subprocess.Popen[bytes]]()
    try:
        while True:
            while len(running) < at_once and (folder := next(waiting, None)) is not None:
                running[folder] = _start(folder)
            if not running:
                return
            for folder in [one for one, process in running.items() if process.poll() is not None]:
                yield folder, _result(folder, running.pop(folder).returncode)
            time.sleep(_POLL_SECONDS)
    finally:
        for process in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in running.values():
            process.wait()


def main(folder: str) -> int:
    """Do the job of a folder, in its process."""
    from bench.corpus.parts.work import do_job
    from bench.machine import die_with_parent

    die_with_parent(signal.SIGKILL)
    try:
        result = do_job(Path(folder), json.loads((Path(folder) / JOB).read_text("utf-8")))
    except BenchError as error:
        result = {"error": str(error), "exit_code": error.exit_code}
    write_atomic(Path(folder) / RESULT, json.dumps(result).encode())
    return 0


def _start(folder: Path) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[3])
    program = (
        f"import sys; sys.path.append({root!r}); "
        "from bench.corpus.parts.processes import main; sys.exit(main(sys.argv[1]))"
    )
    one_thread = dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **one_thread},
        process_group=0,  # ^C of the terminal reaches the parent alone, which ends its children
    )


def _result(folder: Path, status: int) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((folder / RESULT).read_bytes())
    except (OSError, ValueError):
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise FailedError(
            f"a process that reads a part of the corpus {how}; if the memory was exhausted, run "
            "with fewer cores (taskset); the same command goes on with the parts that are done"
        ) from None
    if "error" in result:
        error = BenchError(result["error"])
        error.exit_code = result["exit_code"]
        raise error
    return result
