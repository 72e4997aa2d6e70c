"""Thousands of records are no garbage: they are not looked through for any, nor taken apart."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
