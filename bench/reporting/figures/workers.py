"""Who draws a report's figures: this process, or others that get ready while it compares.

Loading what draws takes two seconds and drawing as long again, so `bench report` starts painters
first, compares, and hands them frames (see `frames`). Only the command does: a process that starts
others reads its own script again, which a user's script need not stand.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import TYPE_CHECKING

from bench._startup import without

if TYPE_CHECKING:
    from bench.reporting.figures.style import Figure

Drawing = Callable[[], "Figure | None"]
"""A figure that is yet to be drawn; it can be pickled."""
Painter = Callable[[Iterable[Drawing]], Iterable["Figure | None"]]
"""Draws, in order; it may have begun when it returns and be done when the last is asked for."""

_MOST_PAINTERS = 4


def paint(drawings: Iterable[Drawing]) -> Iterator[Figure | None]:
    """Draw here and now."""
    for drawing in drawings:
        with without("torch"):
            figure = drawing()
        yield figure


@contextmanager
def painters() -> Iterator[Painter]:
    """Processes that load what draws and wait; `paint` where there can be none."""
    pool = _pool()
    if pool is None:
        yield paint
        return

    def paint_beside(drawings: Iterable[Drawing]) -> Iterable[Figure | None]:
        begun = [(_begin(pool, drawing), drawing) for drawing in drawings]
        return itertools.starmap(_drawn, begun)

    try:
        yield paint_beside
    finally:
        pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor | None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is None or cores < 2 or "forkserver" not in get_all_start_methods():
        return None
    try:
        _load_beside()
        context = get_context("forkserver")
        return ProcessPoolExecutor(min(cores, _MOST_PAINTERS), context, _end_with_parent)
    except (OSError, NotImplementedError):  # no room, no processes or no semaphores
        return None


def _end_with_parent() -> None:
    """A painter waits for work until it is told to end; one who was killed tells it nothing."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _begin(pool: ProcessPoolExecutor, drawing: Drawing) -> Future[Figure | None] | None:
    try:
        return pool.submit(drawing)
    except (OSError, EOFError, BrokenProcessPool):  # EOF: what they are forked from was killed
        return None


def _drawn(begun: Future[Figure | None] | None, drawing: Drawing) -> Figure | None:
    """Killed, by whom ever: the page does not depend on it."""
    if begun is not None:
        with suppress(BrokenProcessPool):
            return begun.result()
    return next(paint([drawing]))


def _load_beside() -> None:
    """Start the process that painters are forked from; it is not waited for.

    ^C reaches all of them, too, and is theirs to ignore: who started them ends them.
    """
    from multiprocessing import forkserver, resource_tracker

    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # a `token.py` where the user stands is not imported
    try:
        resource_tracker.ensure_running()  # first, as it lets ^C through again
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        forkserver.set_forkserver_preload(["bench.reporting.figures.worker_imports"])
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
