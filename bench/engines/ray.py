"""The engine of a Ray cluster: one Ray task for each job, which starts the job's own process.

RAY_ADDRESS names a running cluster; without it, Ray is started on this machine. All nodes need the
same `bench`, plugins and torch, and they share two folders: that of the records, and BENCH_CACHE.
A job whose process or node died is started again on another node and resumes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus.preparation import default_cache
from bench.engines import refuse_options
from bench.engines.jobs import JobState, Resources
from bench.engines.remote import Following, run_here
from bench.engines.worker.worker_process import MAX_STARTS, is_retried
from bench.errors import BenchError, StoppedError
from bench.machine import cores, visible_gpus

if TYPE_CHECKING:
    from bench.engines import Watcher


class DiedError(Exception):
    """The process of a job was killed, or stopped itself; Ray starts the job again."""


class Engine:
    """Runs jobs as tasks of Ray."""

    waits = True

    def __init__(self, options: Mapping[str, str]) -> None:
        refuse_options("ray", options)
        _tame()
        try:
            import ray  # noqa: F401
        except ImportError:
            raise BenchError(
                "--engine ray needs Ray; install it: pip install 'objective-bench[ray]'"
            ) from None

    def resources(self) -> Resources:
        """Those of this machine; a cluster has its own, and Ray knows them."""
        return Resources(cores(), len(visible_gpus()))

    def run_jobs(self, states: list[JobState], resources: Resources, watch: Watcher) -> None:
        """Submit all jobs to Ray at once and follow them."""
        import ray

        with _connected(resources):
            following = Following(states, watch)
            tasks = {self._submit(state): state for state in states}
            waiting = list(tasks)

            def take_ended() -> bool:
                ended, waiting[:] = ray.wait(waiting, timeout=0)
                for task in ended:
                    status, message = _result_of(task)
                    following.end(tasks[task], status, message)
                return not waiting

            try:
                following.until(take_ended)
            except KeyboardInterrupt:
                for task in waiting:
                    ray.cancel(task)  # each process saves its state first
                raise StoppedError(
                    "stopped; the jobs save their state, and the same command resumes them"
                ) from None

    def _submit(self, state: JobState) -> Any:
        import ray

        needed = state.job.resources
        task = ray.remote(_work).options(
            name=state.job.title,
            num_cpus=needed.cpus,
            num_gpus=needed.gpus,
            max_retries=MAX_STARTS - 1,
            retry_exceptions=[DiedError],
        )
        return task.remote(
            str(state.file), needed.cpus, needed.gpus, str(default_cache().absolute())
        )


def _work(file: str, cpus: int, gpus: int, cache: str) -> int:
    """Do a job on a node; its exit status. A node may have a cache folder of its own."""
    os.environ.setdefault("BENCH_CACHE", cache)
    status = run_here(Path(file), Resources(cpus, gpus))
    if is_retried(status, 1):
        raise DiedError(status)
    return status


def _result_of(task: Any) -> tuple[int, str | None]:
    """The exit status of an ended task, and why there is none."""
    import ray

    try:
        return int(ray.get(task)), None
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, DiedError):
            return int(cause.args[0]), None
        return 1, f"Ray could not start the job: {cause}"
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        return 1, f"Ray lost the job {MAX_STARTS} times: {type(error).__name__}: {first}"


@contextlib.contextmanager
def _connected(resources: Resources) -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or to one that is started here and ends with us."""
    import ray

    if ray.is_initialized():  # by the calling script
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            ray.init(address=address, **quiet)
            yield
        else:
            with _private_folder() as folder:
                ray.init(
                    address="local",
                    num_cpus=resources.cpus,
                    num_gpus=resources.gpus,
                    include_dashboard=False,
                    _temp_dir=folder,
                    **quiet,
                )
                yield
                ray.shutdown()
    except ConnectionError as error:
        raise BenchError(f"--engine ray: no cluster at {address}: {error}") from None
    finally:
        ray.shutdown()


def _tame() -> None:
    """Keep Ray from sending usage figures."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for everything that a local Ray writes: logs, its token, and no core dumps.

    Otherwise the token lies in the home folder, and a killed process may leave a dump of its
    memory, which holds the text of the corpus, in the current folder.
    """
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    with tempfile.TemporaryDirectory(prefix="bench-ray-", ignore_cleanup_errors=True) as folder:
        token = Path(folder, "auth_token")
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
        resource.setrlimit(resource.RLIMIT_CORE, (0, limit[1]))
        try:
            yield folder
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, limit)
            if os.environ.get("RAY_AUTH_TOKEN_PATH") == str(token):
                del os.environ["RAY_AUTH_TOKEN_PATH"]
