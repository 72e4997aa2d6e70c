"""Seconds to the first answer, and the time of probing beside that of pretraining.

    python -m tests.benchmarks.answer                                the default run
    python -m tests.benchmarks.answer CORPUS DATA TASKS [--budget 5M]   and a suite, on one run

The default run is `bench run --objective span` with nothing cached. The suite is probed on one run
of `token` alone on the machine: its baselines and the untrained encoder are made before, so nothing
else runs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench
from tests.benchmarks.figures import keep
from tests.helpers.paths import ROOT


def seconds_of(folder: Path, *flags: str) -> float:
    """The seconds of a `bench run` in a folder that has its cache, too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(folder / "cache")}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "bench", "run", *flags], cwd=folder, env=environment,
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - started


def default_run(folder: Path) -> dict[str, Any]:
    """Its seconds, and the columns where span is significantly above the untrained encoder."""
    seconds = seconds_of(folder, "--objective", "span")
    differences = bench.compare(out=folder / "results").difference("span", "untrained")
    is_above = differences["significant"].astype(bool) & (differences["mean"].astype(float) > 0)
    return {
        "seconds": round(seconds),
        "above untrained": [str(column) for column in differences.index[is_above]],
        "columns": len(differences),
    }


def suite(folder: Path, corpus: str, data: str, tasks: str, budget: str) -> dict[str, Any]:
    """Seconds of pretraining one run and of probing it with every task."""
    flags = ["--seeds", "1", "--corpus", corpus, "--data", data, "--tasks", tasks]
    flags += ["--budget", budget]
    seconds_of(folder, "--objective", "untrained", *flags)
    seconds_of(folder, "--objective", "token", *flags)
    (run,) = (folder / "results" / "runs").glob("token-*")
    pretraining = json.loads((run / "run.json").read_text())["spent"]["seconds"]
    scores = run.glob("scores/*.json")
    probing = sum(json.loads(score.read_text())["seconds"] for score in scores)
    return {
        "tasks": len(tasks.split(",")),
        "budget": budget,
        "pretraining seconds": round(pretraining),
        "probing seconds": round(probing),
        "share": round(probing / pretraining, 2),
    }


def main() -> None:
    """Measure the default run and, if its arguments are given, the suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="*", help="CORPUS DATA TASKS (names, comma-separated)")
    parser.add_argument("--budget", default="5M")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        figures: dict[str, Any] = {}
        if options.suite:  # first: its arguments are the part that can be wrong
            figures["probing"] = suite(Path(other), *options.suite, options.budget)
        figures["default run"] = default_run(Path(one))
    keep("answer", figures)


if __name__ == "__main__":
    main()
