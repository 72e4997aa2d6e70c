"""The figures of a report, and the processes that draw them while the report is computed.

Loading the drawing packages takes two seconds, and drawing takes as long again. So `bench report`
starts the processes first, then computes the tables, and sends each process the data of its figures
(see `figures.data`). Only the command starts processes: a started process reads the script of its
parent again, and a user's script may not allow that.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import TYPE_CHECKING

from bench._startup import without
from bench.reporting.figures import cost, forest, scores, training
from bench.reporting.figures.style import Drawing, Figure

if TYPE_CHECKING:
    from bench.reporting.table import Table

MAX_TABLES = 6
"""Number of tables that get figures; a grid of forty learning rates has forty tables."""
_MAX_PROCESSES = 4

Draw = Callable[[Iterable[Drawing]], Iterable[Figure | None]]
"""Draws figures in order. It may return before they are drawn; iteration waits for each figure."""


class ReportFigures:
    """The figures of the tables of a report.

    Args:
        draw: Draws the figures; by default this process does.
    """

    def __init__(self, draw: Draw | None = None) -> None:
        self._draw = draw or draw_here
        self._started: list[tuple[Iterable[Figure | None], Iterable[Figure | None]]] = []

    def start(self, tables: Sequence[Table]) -> None:
        """Start all figures that need no aggregate over tasks."""
        for table, prefix in _prefixes(tables):
            of_training = self._draw(training.drawings(table, prefix))
            of_scores = itertools.chain(
                forest.drawings(table, prefix), scores.drawings(table, prefix)
            )
            self._started.append((self._draw(of_scores), of_training))

    def of(self, tables: Sequence[Table]) -> list[Iterator[Figure]]:
        """The figures of each table. Iteration waits until a figure is drawn."""
        if not self._started:
            self.start(tables)
        of_cost = [self._draw(cost.drawings(*pair)) for pair in _prefixes(tables)]
        figures = [
            (figure for figure in itertools.chain(first, *others) if figure is not None)
            for first, others in zip(of_cost, self._started, strict=True)
        ]
        return [*figures, *(iter(()) for _ in tables[MAX_TABLES:])]


def _prefixes(tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """The tables that get figures, each with the prefix of the names of its figures."""
    for number, table in enumerate(tables[:MAX_TABLES], 1):
        yield table, f"table_{number}_" if len(tables) > 1 else ""


def draw_here(drawings: Iterable[Drawing]) -> Iterator[Figure | None]:
    """Draw in this process, each figure when it is needed."""
    for drawing in drawings:
        with without("torch"):
            figure = drawing()
        yield figure


@contextmanager
def drawing_processes() -> Iterator[Draw]:
    """Start processes that load the drawing packages; `draw_here` if none can be started."""
    pool = _pool()
    if pool is None:
        yield draw_here
        return

    def draw_in_pool(drawings: Iterable[Drawing]) -> Iterable[Figure | None]:
        futures = [(_submit(pool, drawing), drawing) for drawing in drawings]
        return itertools.starmap(_result, futures)

    try:
        yield draw_in_pool
    finally:
        pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor | None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is None or cores < 2 or "forkserver" not in get_all_start_methods():
        return None
    try:
        _start_forkserver()
        context = get_context("forkserver")
        return ProcessPoolExecutor(min(cores, _MAX_PROCESSES), context, _end_with_parent)
    except (OSError, NotImplementedError):  # no memory, no processes or no semaphores
        return None


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A worker waits for the parent's message to end, and a parent that was killed sends none.
    """
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _submit(pool: ProcessPoolExecutor, drawing: Drawing) -> Future[Figure | None] | None:
    try:
        return pool.submit(drawing)
    except (OSError, EOFError, BrokenProcessPool):  # EOFError: the fork server was killed
        return None


def _result(future: Future[Figure | None] | None, drawing: Drawing) -> Figure | None:
    """Wait for a figure. If a worker died, draw in this process."""
    if future is not None:
        with suppress(BrokenProcessPool):
            return future.result()
    return next(draw_here([drawing]))


def _start_forkserver() -> None:
    """Start the fork server of the workers, without waiting for it.

    An interrupt (^C) reaches the workers too. They ignore it, because this process ends them.
    """
    from multiprocessing import forkserver, resource_tracker

    before = os.environ.get("PYTHONSAFEPATH")
    # Otherwise a `token.py` in the current folder would be imported.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        resource_tracker.ensure_running()  # first, because it unblocks the interrupt
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        forkserver.set_forkserver_preload(["bench.reporting.figures.worker_imports"])
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
