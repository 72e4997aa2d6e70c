"""The engine of Slurm, through submitit: job arrays that survive preemption and time limits.

    bench run --engine slurm:partition=gpu,timeout_min=600 ...

submitit tells a job of its end with SIGUSR2; the job passes SIGTERM on to the process that works,
which saves its state, and Slurm starts it again. The nodes share two folders: that of the records,
and BENCH_CACHE. ^C leaves the jobs to Slurm; the same command follows them again.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engines.jobs import JobState, Resources
from bench.engines.progress import log
from bench.engines.remote import Following
from bench.engines.worker.worker_process import WorkerProcess, is_retried
from bench.errors import BenchError, StoppedError
from bench.machine import cores
from bench.settings import whole_number
from bench.storage import write_atomic

if TYPE_CHECKING:
    from bench.engines import Watcher

TIMEOUT_MIN = 24 * 60
"""Minutes of a job before Slurm ends it; it is then started again and resumes."""
_OWN = ("cluster", "timeout_min", "mem_gb", "array_parallelism", "signal_delay_s")
_OF_SLURM = ("partition", "account", "qos", "constraint", "gpus_per_node", "exclude", "nodelist")


class Engine:
    """Runs jobs as a job array of Slurm."""

    waits = True

    def __init__(self, options: Mapping[str, str]) -> None:
        known = (*_OWN, *_OF_SLURM)
        unknown = [name for name in options if name not in known]
        if unknown:
            raise BenchError(
                f"--engine slurm has no option {unknown[0]!r}; its options are {', '.join(known)}"
            )
        for name in ("timeout_min", "mem_gb", "array_parallelism", "signal_delay_s"):
            if name in options and whole_number(options[name]) is None:
                raise BenchError(
                    f"--engine slurm: {name} is a whole number, got {options[name][:40]!r}"
                )
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise BenchError(
                "--engine slurm needs submitit; install it: pip install 'objective-bench[slurm]'"
            ) from None
        self._options = dict(options)

    def resources(self) -> Resources:
        """Unused: Slurm has its own queue."""
        return Resources(cores())

    def run_jobs(self, states: list[JobState], resources: Resources, watch: Watcher) -> None:
        """Submit the jobs, one array for each kind of node, and follow them."""
        waiting = {state.job.id: (state, job) for state, job in self._submit(states)}
        following = Following(states, watch)

        def take_ended() -> bool:
            for state, job in list(waiting.values()):
                if job.done():
                    del waiting[state.job.id]
                    following.end(state, *_result_of(job))
            return not waiting

        try:
            following.until(take_ended)
        except KeyboardInterrupt:
            ids = " ".join(sorted({str(job.job_id).split("_")[0] for _, job in waiting.values()}))
            raise StoppedError(
                f"no longer following: the jobs go on in Slurm (scancel {ids} ends them), "
                f"`bench status --out {states[0].file.parent.parent}` shows them, and the same "
                "command follows them again"
            ) from None

    def _submit(self, states: list[JobState]) -> list[tuple[JobState, Any]]:
        import submitit

        followed: list[tuple[JobState, Any]] = []
        kinds: dict[Resources, list[JobState]] = {}
        for state in states:
            kinds.setdefault(state.job.resources, []).append(state)
        folder = states[0].file.parent / "slurm"
        executor = submitit.AutoExecutor(
            folder, cluster=self._options.get("cluster"), slurm_max_num_timeout=1000
        )
        register = folder / "submitted.json"
        known = json.loads(register.read_bytes()) if register.is_file() else {}
        for needed, alike in kinds.items():
            new = []
            for state in alike:
                job = executor.job_class(folder, known.get(state.job.id, "0"))
                if state.job.id in known and not job.done():
                    followed.append((state, job))
                else:
                    new.append(state)
            if not new:
                continue
            executor.update_parameters(**self._parameters(needed))
            files = [str(state.file) for state in new]
            count = len(new)
            jobs = executor.map_array(
                SubmittedJob(), files, [needed.cpus] * count, [needed.gpus] * count
            )
            followed += zip(new, jobs, strict=True)
            log(f"slurm: {count} jobs submitted, the first as {jobs[0].job_id}")
        known |= {state.job.id: job.job_id for state, job in followed}
        write_atomic(register, json.dumps(known).encode())
        return followed

    def _parameters(self, needed: Resources) -> dict[str, Any]:
        numbers = {name: int(self._options[name]) for name in _OWN[1:] if name in self._options}
        own: dict[str, Any] = {
            f"slurm_{name}": self._options[name] for name in _OF_SLURM if name in self._options
        }
        if "array_parallelism" in numbers:
            own["slurm_array_parallelism"] = numbers.pop("array_parallelism")
        if "signal_delay_s" in numbers:
            own["slurm_signal_delay_s"] = numbers.pop("signal_delay_s")
        gpus = {"gpus_per_node": needed.gpus} if needed.gpus else {}
        shared = {"name": "bench", "timeout_min": TIMEOUT_MIN, "cpus_per_task": needed.cpus}
        return {**shared, **gpus, **numbers, **own}


class SubmittedJob:
    """Does one job on a node; submitit calls `checkpoint` before Slurm ends it."""

    def __init__(self, num_starts: int = 1) -> None:
        self._num_starts = num_starts
        self._process: WorkerProcess | None = None
        self._has_died = False

    def __call__(self, file: str, cpus: int, gpus: int) -> int:
        """Do the job; its exit status."""
        self._process = WorkerProcess(Path(file), Resources(cpus, gpus), lambda event: None)
        status = self._process.wait()
        if is_retried(status, self._num_starts):
            self._has_died = True
            os.kill(os.getpid(), _preemption_signal())  # submitit queues the job again
            time.sleep(60)
        return status

    def checkpoint(self, file: str, cpus: int, gpus: int) -> Any:
        """Make the process save its state; what Slurm is to start again.

        submitit ignores SIGTERM, which Slurm sends to all processes of a job, so the process is
        signalled here.
        """
        from submitit.helpers import DelayedSubmission

        assert self._process is not None
        self._process.signal(signal.SIGTERM)
        self._process.wait()
        return DelayedSubmission(SubmittedJob(self._num_starts + self._has_died), file, cpus, gpus)


def _preemption_signal() -> int:
    from submitit import JobEnvironment

    return int(JobEnvironment._usr_sig())


def _result_of(job: Any) -> tuple[int, str | None]:
    """The exit status of an ended job, and why there is none."""
    error = job.exception()
    if error is None:
        return int(job.result()), None
    return 1, f"Slurm ended the job {job.job_id} ({job.state}): {str(error).splitlines()[0]}"
