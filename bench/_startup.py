"""Fast start and fast end of a command: deferred imports, and no work on objects nobody needs.

Objectives and tasks `import torch` at their top, as anybody would, and `bench list` must not wait
seconds for it. The standard `LazyLoader` was tried: a second `import torch` already loads it,
because the import statement itself reads the module's `__spec__`. Here `__spec__` and the other
attributes that tools read exist from the start.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_OWN_PROCESS: list[bool] = []


class _Deferred(ModuleType):
    """Stands in for a module until an attribute of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, name)


def defer(*names: str) -> None:
    """Let `import NAME` return at once for each installed package that is not loaded yet."""
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            module = _Deferred(name)
            module.__spec__, module.__file__ = spec, spec.origin
            sys.modules[name] = module


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Hide deferred modules, so that code which tests for a loaded module does not find them.

    scipy tests whether arrays are tensors if torch is in `sys.modules`. It would take the stand-in
    for torch, and the test would load all of torch.
    """
    hidden = {
        name: module for name in names if isinstance(module := sys.modules.get(name), _Deferred)
    }
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        for name, module in hidden.items():
            sys.modules.setdefault(name, module)


@contextlib.contextmanager
def paused_collection() -> Iterator[None]:
    """Disable garbage collection while loading records: a pass over 30,000 of them costs 0.3 s."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def own_process() -> None:
    """Declare that this process serves one command, so that `leave` may end it."""
    _OWN_PROCESS.append(True)


def leave() -> None:
    """End a process that serves one command without freeing its objects one by one, as mypy does.

    In any other process this does nothing.
    """
    if _OWN_PROCESS:
        atexit._run_exitfuncs()  # these remove temporary folders
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
