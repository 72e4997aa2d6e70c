"""Who draws a report's figures: this process, or others that get ready while it compares.

Loading what draws takes two seconds and drawing as long again, so `bench report` starts painters
first, compares, and hands them frames (see `frames`). Only the command does: a process that starts
others reads its own script again, which a user's script need not stand.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING

from bench.deferred import without

if TYPE_CHECKING:
    from bench.reporting.figures import Figure

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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    is_able = "forkserver" in get_all_start_methods()
    if not is_able or cores is None or cores < 2:
        yield paint
        return
    try:
        _load_beside()
        pool = ProcessPoolExecutor(
            min(cores, _MOST_PAINTERS), get_context("forkserver"), _ignore_interrupts
        )
    except (OSError, NotImplementedError):  # no room, no processes or no semaphores
        yield paint
        return

    def paint_beside(drawings: Iterable[Drawing]) -> Iterable[Figure | None]:
        begun = [(_begin(pool, drawing), drawing) for drawing in drawings]
        return itertools.starmap(_drawn, begun)

    try:
        yield paint_beside
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """^C reaches painters, too; who started them ends them, without a word of theirs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _begin(pool: ProcessPoolExecutor, drawing: Drawing) -> Future[Figure | None] | None:
    try:
        return pool.submit(drawing)
    except (OSError, BrokenProcessPool):
        return None


def _drawn(begun: Future[Figure | None] | None, drawing: Drawing) -> Figure | None:
    """Killed, by whom ever: the page does not depend on it."""
    if begun is not None:
        with suppress(BrokenProcessPool):
            return begun.result()
    return next(paint([drawing]))


def _load_beside() -> None:
    """Start the process that painters are forked from; it is not waited for."""
    from multiprocessing import forkserver

    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # a `token.py` where the user stands is not imported
    try:
        forkserver.set_forkserver_preload(["bench.reporting.painter"])
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
