"""A process that has imported everything once, and forks a worker for each job (Linux, no GPU).

Importing torch, scikit-learn and the rest costs about three seconds of a core, a tenth of a default
run. A forked worker is as much a process of its own as a started one: a crash, a leak or a plugin
that changes a module ends with it. Nothing is imported here that a person may have written, and no
tensor is computed, so no thread exists that a fork would lose.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from bench.machine import STOPPING

_POLL_SECONDS = 0.02
_MODULES = ("bench.engines.worker.scoring", "bench.pretraining.loop", "bench.records.run_folder",
            "bench.probing.baselines", "sklearn.linear_model")  # fmt: skip


class ForkedWorker:
    """A forked worker, with the parts of `subprocess.Popen` that an engine needs.

    Raises:
        OSError: The template is gone.
    """

    def __init__(self, line: socket.socket, events: TextIO) -> None:
        self.stdout: TextIO | None = events
        self._line = line
        text = line.recv(32)
        if not text:
            raise OSError("the template of the workers is gone")
        self.pid = int(text)

    def wait(self) -> int:
        """The exit code; below 0 the signal that killed it, or SIGKILL if the template is gone."""
        with self._line:
            text = self._line.recv(32)
        return int(text) if text else -signal.SIGKILL


class Template:
    """The template of the workers of an engine.

    Args:
        environment: The environment variables of the workers.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        root = str(Path(__file__).resolve().parents[3])
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = (
            f"import sys; sys.path.append({root!r}); "
            "from bench.engines.worker.template import serve; serve(int(sys.argv[1]))"
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def fork(self, file: Path) -> ForkedWorker:
        """Start the worker of a job.

        Args:
            file: The file of the job.

        Raises:
            OSError: The template is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        receiver, sender = os.pipe()
        events = open(receiver, encoding="utf-8", errors="replace")  # noqa: SIM115 (the engine's)
        try:
            with theirs, open(sender, "wb"):
                socket.send_fds(self._line, [os.fsencode(file)], [theirs.fileno(), sender])
            return ForkedWorker(ours, events)
        except OSError:
            ours.close()
            events.close()
            raise

    def close(self) -> None:
        """End the template; workers that still run receive SIGTERM."""
        self._line.close()
        self._process.wait()


def serve(descriptor: int) -> None:
    """Fork a worker for every job that arrives, until the engine closes its end."""
    for module in _MODULES:
        __import__(module)
    gc.collect()
    gc.freeze()  # what was imported is never garbage, and no worker copies its pages
    line = socket.socket(fileno=descriptor)
    workers: dict[int, socket.socket] = {}
    while True:
        if select.select([line], [], [], _POLL_SECONDS if workers else None)[0]:
            file, descriptors, _, _ = socket.recv_fds(line, 65536, 2)
            if not file:
                return
            report, events = socket.socket(fileno=descriptors[0]), descriptors[1]
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until the worker has handlers
            pid = os.fork()
            if pid == 0:
                for other in (line, report, *workers.values()):
                    other.close()
                _work(os.fsdecode(file), events)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            os.close(events)
            with contextlib.suppress(OSError):  # here too: a signal may come before the worker's
                os.setpgid(pid, pid)
            workers[pid] = report
            _send(report, pid)
        for pid in list(workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with workers.pop(pid) as report:
                    _send(report, os.waitstatus_to_exitcode(status))


def _send(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # the engine is gone, and this process ends soon
        line.send(str(number).encode())


def _work(file: str, events: int) -> None:
    """Do the job in the forked process, and end it."""
    from bench.engines.worker.worker import main

    code = 1
    try:
        os.setpgid(0, 0)  # ^C in the terminal reaches the worker through the engine alone
        os.dup2(events, 1)
        os.close(events)
        code = main(file)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
