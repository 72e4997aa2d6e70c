r"""The engine that starts nothing: one shell line for each job, for any scheduler.

The lines are independent of each other, and each may be repeated: a finished run is found, and an
unfinished one is resumed.

    bench run --engine print ... | xargs -d '\n' -P 4 -n 1 sh -c
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.engines import refuse_options
from bench.engines.jobs import JobState, Resources
from bench.machine import cores
from bench.records.remote import address_of

if TYPE_CHECKING:
    from bench.engines import Watcher


class Engine:
    """Prints the commands of jobs on standard output."""

    waits = False

    def __init__(self, options: Mapping[str, str]) -> None:
        refuse_options("print", options)

    def resources(self) -> Resources:
        """Unused."""
        return Resources(cores())

    def run_jobs(self, states: list[JobState], resources: Resources, watch: Watcher) -> None:
        """Print one line for each job; all of them stay `waiting`."""
        for state in states:
            file = address_of(state.file) or os.path.relpath(state.file)
            sys.stdout.write(f"bench work {shlex.quote(file)}\n")
