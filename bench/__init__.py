"""`bench`: which self-supervised objective should I pretrain my text encoder with?

The public names are loaded when they are first used, so that `bench --help` does not wait for
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.hookspecs import hookimpl
from bench.settings import settings

if TYPE_CHECKING:
    from bench.api import compare, run
    from bench.pretraining.objective import MaskedObjective, Objective
    from bench.probing.task import Task

__version__ = "0.1.0"
__all__ = [
    "MaskedObjective",
    "Objective",
    "Task",
    "__version__",
    "compare",
    "hookimpl",
    "run",
    "settings",
]

_HOMES = {
    "MaskedObjective": "bench.pretraining.objective",
    "Objective": "bench.pretraining.objective",
    "Task": "bench.probing.task",
    "compare": "bench.api",
    "run": "bench.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
