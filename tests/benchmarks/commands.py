"""CPU seconds of the commands that only read, beside `python -c "import torch"`, in one run.

python -m tests.benchmarks.commands [rounds]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.benchmarks.figures import keep
from tests.helpers.paths import ROOT

STORE = ROOT / "results" / "reference" / "micro" / "records.zip"
RUN = "-m", "bench"
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "bench --help": (*RUN, "--help"),
    "bench list": (*RUN, "list"),
    "bench describe span": (*RUN, "describe", "span"),
    "bench compare": (*RUN, "compare", "--out", "micro"),
}


def cpu_seconds(arguments: tuple[str, ...], folder: Path) -> float:
    """The user and system seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int) -> None:
    """Alternate the commands, and keep the least seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(STORE) as archive:
            archive.extractall(Path(folder) / "micro")
        runs = len(list(Path(folder).glob("micro/runs/*")))
        seconds: dict[str, float] = {}
        for _ in range(rounds):
            for name, arguments in COMMANDS.items():
                spent = cpu_seconds(arguments, Path(folder))
                seconds[name] = min(seconds.get(name, spent), spent)
    figures = {name: round(value, 2) for name, value in seconds.items()}
    keep("commands", {"runs of compare": runs, "cpu seconds": figures})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
