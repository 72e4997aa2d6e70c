"""`bench`: which self-supervised objective should I pretrain my text encoder with?

The public names are loaded at first use, so that `bench --help` does not wait for torch.

Examples:
    >>> import bench
    >>> "run" in dir(bench)
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench._layout import import_part
from bench.errors import BenchError
from bench.hookspecs import hookimpl
from bench.settings import settings

if TYPE_CHECKING:
    from bench.api import Run, compare, features, fill, load_run, run, variants
    from bench.engines.observers.observer import Observer
    from bench.exporting import export
    from bench.pretraining.objective import MaskedObjective, Objective
    from bench.probing.task import Task
    from bench.reporting.comparison import Comparison

__version__ = "0.1.0"
__all__ = [
    "BenchError",
    "Comparison",
    "MaskedObjective",
    "Objective",
    "Observer",
    "Run",
    "Task",
    "__version__",
    "compare",
    "export",
    "features",
    "fill",
    "hookimpl",
    "load_run",
    "run",
    "settings",
    "variants",
]

_HOMES = {
    "Comparison": "bench.reporting.comparison",
    "MaskedObjective": "bench.pretraining.objective",
    "Objective": "bench.pretraining.objective",
    "Observer": "bench.engines.observers.observer",
    "Task": "bench.probing.task",
    "export": "bench.exporting",
    **dict.fromkeys(
        ("Run", "compare", "features", "fill", "load_run", "run", "variants"), "bench.api"
    ),
}
# In a checkout these two folders lie beside the package; as parts of it they can be imported by the
# name that they have in the wheel: `from bench.objectives.token import Token`.
for _part in ("objectives", "tasks"):
    import_part(_part)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        import difflib

        near = difflib.get_close_matches(name, __all__, n=1)
        hint = f"; did you mean 'bench.{near[0]}'?" if near else ""
        raise AttributeError(f"module 'bench' has no attribute {name!r}{hint}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
