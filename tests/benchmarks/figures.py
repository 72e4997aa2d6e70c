"""Where the benchmarks put their figures: on the terminal, and into the file that README shows.

With `BENCH_KEEP_FIGURES=1` a benchmark replaces its own part of `results/reference/speed.json`, and
`make reference` renders it.
"""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import torch

from bench.machine import cores
from tests.helpers.reference import SPEED


def keep(name: str, figures: dict[str, Any]) -> None:
    """Print the figures of a benchmark as JSON, and keep them if that is asked for."""
    print(json.dumps(figures, indent=1))
    if os.environ.get("BENCH_KEEP_FIGURES") != "1":
        return
    kept = json.loads(SPEED.read_text(encoding="utf-8")) if SPEED.is_file() else {}
    kept[name] = figures
    kept["machine"] = f"{cores()} cores of {_processor()}, torch {torch.__version__.split('+')[0]}"
    SPEED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
