"""Imports that happen when they are needed, so that `bench list` does not wait seconds for torch.

Objectives and tasks `import torch` at their top as anybody would. The standard `LazyLoader` was
tried: a second `import torch` already loads it, because the import statement itself looks at the
module's `__spec__`; here that and the other names that tools look at are there from the start.
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
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in for a module until something of it is used."""

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
    """Let nobody see what is deferred: scipy asks whether arrays are tensors, if torch is loaded.

    A stand-in is taken for the module, and answering the question would load all of it.
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


_OWN: list[bool] = []


@contextmanager
def paused_collection() -> Iterator[None]:
    """No garbage collection meanwhile: a look at thirty thousand records costs 0.3 s."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def own_process() -> None:
    """This process is a command's: nobody needs it once the command is done."""
    _OWN.append(True)


def leave() -> None:
    """End a process of one's own as it stands, as mypy does; nothing happens in another's.

    Python would first take apart all that was read, object by object.
    """
    if _OWN:
        atexit._run_exitfuncs()  # temporary folders are removed by these
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
