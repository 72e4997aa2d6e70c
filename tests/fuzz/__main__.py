"""Random hostile input for everything that reads what a person gives.

    python -m tests.fuzz [--cases 1000] [--seed 0] [--kind settings,...] [--state FILE]

A case is right if it ends as it should, with a `BenchError`, or with a usage error of the command
line. Any other exception is a traceback that a person would see, and more than `SECONDS` of CPU is
a hang. Each case is a function of seed, kind and number, so that a finding can be repeated. With
`--state` the same command continues where it was stopped. Prints the counts of each kind, and exits
with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError, user_error
from tests.fuzz.kinds import KINDS

SECONDS = 10.0
"""CPU seconds after which a case is a hang; the slowest right one takes about one."""
MEMORY_BYTES = 12 * 2**30
SAVED_EVERY = 50
SHARES = {
    "settings": 30,
    "labels": 25,
    "tokenizers": 15,
    "corpora": 15,
    "commands": 13,
    "records": 2,
}
"""Percent of the cases of each kind."""


class Hang(BaseException):
    """A case took too long."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise `Hang` in the block after `SECONDS` of CPU."""

    def end(_number: int, _frame: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Discard what is printed in the block."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def outcome(kind: str, seed: int, number: int) -> tuple[str, str]:
    """What became of a case: accepted, refused, traceback or hang; and of the last two, how."""
    rng = random.Random(f"{seed}.{kind}.{number}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            with limited(), silent(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                KINDS[kind](rng, Path(folder))
        except SystemExit as end:
            return "refused" if end.code else "accepted", ""
        except BenchError:
            return "refused", ""
        except Hang:
            return "hang", traceback.format_exc()
        except Exception as error:
            if user_error(error) is not None:
                return "refused", ""
            return "traceback", traceback.format_exc()
    return "accepted", ""


class State:
    """The counts and findings so far, in a file if one is given."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self._path = path
        self.counts: dict[str, collections.Counter[str]] = {
            kind: collections.Counter() for kind in KINDS
        }
        self.findings: list[dict[str, Any]] = []
        if path is not None and path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["seed"] != seed:
                sys.exit(f"{path} is of seed {kept['seed']}, not {seed}; give another --state")
            self.findings = kept["findings"]
            for kind, counts in kept["counts"].items():
                self.counts[kind].update(counts)
        self._seed = seed

    def done(self, kind: str) -> int:
        return self.counts[kind].total()

    def save(self) -> None:
        if self._path is not None:
            kept = {"seed": self._seed, "counts": self.counts, "findings": self.findings}
            beside = self._path.with_suffix(".part")
            beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            beside.replace(self._path)


def main() -> int:
    """Run the cases that are missing and print the counts."""
    parser = argparse.ArgumentParser(description="random hostile input")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default=",".join(KINDS))
    parser.add_argument("--state", type=Path)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    kinds = options.kind.split(",")
    cache = tempfile.mkdtemp()
    os.environ |= {"BENCH_CACHE": cache, "HOME": cache, "OMP_NUM_THREADS": "1"}
    state = State(options.state and options.state.absolute(), options.seed)
    share = sum(SHARES[kind] for kind in kinds)
    try:
        for kind in kinds:
            wanted = options.cases * SHARES[kind] // share
            for number in range(state.done(kind), wanted):
                what, how = outcome(kind, options.seed, number)
                state.counts[kind][what] += 1
                if how:
                    state.findings.append(
                        {"kind": kind, "number": number, "what": what, "how": how}
                    )
                    print(f"{kind} {number}: {what}\n{how}", flush=True)
                if number % SAVED_EVERY == 0 or how:
                    state.save()
    finally:
        state.save()
        shutil.rmtree(cache, ignore_errors=True)
        for kind in kinds:
            print(f"{kind:<11} {state.done(kind):>7} cases  {dict(state.counts[kind])}")
    return int(bool(state.findings))


if __name__ == "__main__":
    sys.exit(main())
