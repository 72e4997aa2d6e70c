"""`bench work JOB.json` as a child process, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.engines.events import Done, Event, Failure, read_event
from bench.engines.jobs import Job, JobState, Resources, RunJob
from bench.engines.worker.template import ForkedWorker, Template

RESUMABLE = 75
"""The exit code of a job that saved its state and stopped."""
POLL_SECONDS = 0.02
_LONGEST_LINE = 1 << 20
MAX_STARTS = 4
"""A job that dies again and again is given up: the cause is probably its own."""


class WorkerProcess:
    """A running job.

    A group of its own: ^C reaches the worker once, through its parent, and not a second time from
    the terminal.
    """

    def __init__(
        self,
        file: Path,
        resources: Resources,
        on_event: Callable[[Event], None],
        on_end: Callable[[], None] = lambda: None,
        environment: Mapping[str, str] | None = None,
        template: Template | None = None,
    ) -> None:
        """Start the process, and threads that pass on its events.

        Args:
            file: The file of the job.
            resources: The cores that it may use.
            on_event: Called in another thread with every event.
            on_end: Called in another thread when the process is gone, after its last event.
            environment: Further environment variables, for a process of its own.
            template: Forks the process, if it is given and still lives.
        """
        self._process: ForkedWorker | subprocess.Popen[str]
        try:
            if template is None:
                raise OSError("no template was given")
            self._process = template.fork(file)
        except OSError:
            self._process = _start(file, {**worker_environment(resources), **(environment or {})})
        self._on_event, self._on_end = on_event, on_end
        self._kills_before = count_memory_kills()
        self.ran_out_of_memory = False
        """Whether the kernel killed a process for memory while this one ran, and then it died."""
        self._status: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    def signal(self, number: int) -> None:
        """Send a signal to the process and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def wait(self) -> int:
        """Wait for the end of the process and its children, and return the exit status.

        It takes no lock, so a signal handler that interrupts it may call it too.

        Returns:
            The exit code; below 0 the signal that killed it.
        """
        while self._status is None:
            time.sleep(POLL_SECONDS)
        return self._status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as report:
            for line in iter(lambda: report.readline(_LONGEST_LINE), ""):
                try:
                    event = read_event(line)
                except ValueError:  # half a line of a worker that was killed, or a plugin's print
                    continue
                self._on_event(event)

    def _wait(self) -> None:
        status = self._process.wait()
        self._reader.join(timeout=2.0)  # a child of a plugin may hold the pipe open
        self.signal(signal.SIGKILL)
        if status == -signal.SIGKILL:
            self.ran_out_of_memory = count_memory_kills() > self._kills_before
        self._status = status
        self._on_end()


def worker_environment(resources: Resources) -> dict[str, str]:
    """The environment variables of a worker with these resources."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(resources.cpus))}


def _start(file: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the process of a job.

    With `-P`, and our own folder last on its path, a `token.py` in the user's folder is not
    imported.
    """
    root = str(Path(__file__).resolve().parents[3])
    program = (
        f"import sys; sys.path.append({root!r}); "
        "from bench.engines.worker.worker import main; sys.exit(main(sys.argv[1]))"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        process_group=0,
    )


def is_retried(status: int, num_starts: int) -> bool:
    """Whether a job is started again after its process ended.

    A signal kills a process whose machine runs out of memory or is taken away; a run resumes from
    its checkpoint. A failure, a wrong call and a refusal would come again.
    """
    return (status < 0 or status == RESUMABLE) and num_starts < MAX_STARTS


def receive(state: JobState, event: Event) -> None:
    """Set what an event says of its job."""
    match event:
        case Failure():
            state.message, state.exit_code = event.message, event.exit_code
        case Done() if _is_there(state.job, event.run_id):
            state.status, state.run_id = event.status, event.run_id


def _is_there(job: Job, run_id: str | None) -> bool:
    """Whether a job has left its run; a plugin may have reported what is not there."""
    if not isinstance(job, RunJob):
        return run_id is None
    return run_id == job.id and (job.evaluation.out / "runs" / run_id).is_dir()


def count_memory_kills(root: Path = Path("/")) -> int:
    """How many processes of this control group the kernel has killed for memory; 0 if unknown.

    Args:
        root: Where `proc` and `sys` lie.
    """
    with contextlib.suppress(OSError, ValueError):
        groups = root / "sys/fs/cgroup"
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                places = [groups / path.strip("/") / "memory.events", groups / "memory.events"]
            elif "memory" in controllers.split(","):
                memory = groups / "memory"
                places = [memory / path.strip("/"), memory]
                places = [place / "memory.oom_control" for place in places]
            else:
                continue
            for place in filter(Path.is_file, places):
                facts = dict(fact.split(" ", 1) for fact in place.read_text().splitlines())
                if "oom_kill" in facts:
                    return int(facts["oom_kill"])
    return 0


def settle(state: JobState, status: int, ran_out_of_memory: bool = False) -> None:
    """Set the status of a job whose process ended.

    Args:
        state: The job.
        status: The exit status; below 0 the signal that killed it.
        ran_out_of_memory: Whether the kernel killed a process for memory meanwhile.
    """
    if status == 0 and state.status in ("finished", "diverged"):
        return
    state.status = "stopped" if state.exit_code in (RESUMABLE, 130) else "failed"
    state.exit_code = state.exit_code or max(status, 1)
    if state.message is None and ran_out_of_memory:
        state.message = (
            "out of memory: the kernel killed the worker; give the job more memory, a smaller "
            "--size, or fewer runs at once"
        )
    if state.message is None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        state.message = (
            f"the worker {how} and reported no reason: a plugin crashed, a plugin hung for longer "
            "than BENCH_SILENCE_SECONDS, or the memory was exhausted"
        )
