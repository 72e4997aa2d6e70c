"""Runs of `rank_program` in one process or in several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.corpus.preparation import PreparedCorpus
from tests.helpers.paths import ROOT

PROGRAM = (
    "import sys; from bench.engines.worker.rank_launcher import is_rank, launch\n"
    "from tests.helpers.rank_program import main\n"
    "count, *arguments = sys.argv[1:]\n"
    "sys.exit(launch(int(count)) if int(count) > 1 and not is_rank() else main(*arguments))"
)


def start(
    corpus: PreparedCorpus, count: int, work: Path, *scenario: str
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; the scenario is that of `rank_program`."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count), str(corpus.folder), str(work), *scenario],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, capture_output=True, timeout=550,
    )  # fmt: skip


def encoders(corpus: PreparedCorpus, count: int, work: Path, *scenario: str) -> dict[str, str]:
    """Objective -> hash of its weights and its figures; the encoders are in `work`."""
    done = start(corpus, count, work, *scenario)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.count(" ") == 6)
