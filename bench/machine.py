"""What of this machine the process may use."""

from __future__ import annotations

import os
from importlib.metadata import version


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The names of the GPUs that this process may use, for CUDA_VISIBLE_DEVICES."""
    if version("torch").endswith("+cpu"):
        return []  # known without importing torch
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [name for name in given.split(",") if name]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]
