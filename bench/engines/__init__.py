"""Ways to run many jobs, each as an operating-system process of its own.

    local   on this machine, as many at once as its cores and GPUs allow
    ray     on the nodes of a Ray cluster, or on one started here
    slurm   as jobs of Slurm, which may be preempted
    print   not at all: one shell line for each job, for any other scheduler

Every engine starts the same command, `bench work JOB.json`, and reads the same two files of a job
in `OUT/jobs/`. So a run does not depend on the engine, and `bench status` reads them all alike.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.engines.events import Event
    from bench.engines.jobs import JobState, Resources

    Watcher = Callable[[JobState, Event], None]

ENGINES = ("local", "ray", "slurm", "print")


class Engine(Protocol):
    """Runs jobs; the class `Engine` of the module that has the engine's name."""

    waits: bool
    """Whether the records exist when `run_jobs` returns."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Check the options of `--engine NAME:KEY=VALUE,...`.

        Raises:
            BenchError: An unknown option, or a missing package.
        """

    def resources(self) -> Resources:
        """The cores and GPUs that jobs may use at once."""

    def run_jobs(self, states: list[JobState], resources: Resources, watch: Watcher) -> None:
        """Run all jobs and set the status of each.

        A job whose process a signal killed, or that stopped itself with exit code 75, is started
        again and resumes. One that failed (1), was called wrongly (2) or refused (3) is not.

        Args:
            states: The jobs in the order to start them; changed in place.
            resources: The cores and GPUs that they may use at once.
            watch: Called in this thread with every event of every job.
        """


def read_engine(text: str) -> Engine:
    """The engine of `NAME` or `NAME:KEY=VALUE,...`.

    Raises:
        BenchError: No such engine or option, or a package is missing.
    """
    name, _, rest = text.partition(":")
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise BenchError(f"--engine {name!r} is none of {', '.join(ENGINES)}{hint}")
    options = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BenchError(f"--engine {text}: write {name}:KEY=VALUE,..., got {pair!r}")
        options[key] = value
    engine: Engine = importlib.import_module(f"bench.engines.{name}").Engine(options)
    return engine


def refuse_options(engine: str, options: Mapping[str, str]) -> None:
    """Refuse options of an engine that has none.

    Raises:
        BenchError: There are some.
    """
    if options:
        raise BenchError(f"--engine {engine} has no options, got {', '.join(options)}")
