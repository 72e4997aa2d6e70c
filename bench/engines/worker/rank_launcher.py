"""The processes of one run on several GPUs (`--gpus-per-run`), started as torchrun starts them.

The worker of the run becomes their parent: the first rank reports and writes, the others compute.
If one dies, all are ended, because ranks that wait for a dead one wait for ever; the worker then
dies of the same signal, so the engine starts the job again from its checkpoint. torchrun itself is
not used, because it turns every end of a rank into one exit code and a traceback.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

POLL_SECONDS = 0.05
GRACE_SECONDS = 30.0
"""Time that the other ranks have to end after one has ended."""


def is_rank() -> bool:
    """Whether somebody started this process as one of several ranks."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process writes and reports for its run."""
    return not is_rank() or os.environ.get("RANK") == "0"


def launch(count: int) -> int:
    """Start this very command as so many ranks on this machine; the exit code of the first.

    A signal that killed one of them kills this process too.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    shared = {
        **{name: str(max(1, int(os.environ.get(name, "1")) // count)) for name in names},
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=None if rank == 0 else sys.stderr.fileno(),
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]

    def pass_on(number: int, _frame: Any) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    cause = _wait(ranks)
    if cause < 0:
        signal.signal(-cause, signal.SIG_DFL) if -cause != signal.SIGKILL else None
        os.kill(os.getpid(), -cause)
    return cause


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all ranks; after one has failed, not for long. The code of the first that failed."""
    cause, end = 0, float("inf")
    while any(process.poll() is None for process in ranks):
        failed = [process.poll() or 0 for process in ranks if process.poll()]
        if failed and not cause:
            cause = failed[0]
            end = time.monotonic() + (0.0 if cause < 0 else GRACE_SECONDS)
        if time.monotonic() >= end:
            for process in ranks:
                process.kill()
        time.sleep(POLL_SECONDS)
    return cause or next((process.poll() or 0 for process in ranks if process.poll()), 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
