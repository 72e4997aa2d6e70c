"""The observers of one command: chosen by name, and each in a thread that cannot disturb the runs.

An observer may raise, be slow, or wait for a network. So events are put into a queue, and at the
end of the command every observer has a limited time to finish.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines import events
from bench.engines.jobs import Job, JobState, RunJob
from bench.engines.observers.observer import Observer
from bench.engines.progress import log
from bench.errors import BenchError
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.engines import Watcher

ObserverLike = str | type[Observer]
CLOSING_SECONDS = 30.0
"""Time that the observers have to finish after the last run."""


@contextlib.contextmanager
def observing(observers: ObserverLike | Iterable[ObserverLike], out: Path) -> Iterator[Watcher]:
    """Pass the events of all runs on to some observers.

    Args:
        observers: Names, several of them with commas, or classes.
        out: Folder of the records.

    Yields:
        What the engine calls with every event.

    Raises:
        BenchError: An observer is unknown, or lacks a package. Nothing was trained yet.
    """
    threads = [_Thread(cls, out) for cls in observer_classes(observers)]

    def watch(state: JobState, event: events.Event) -> None:
        for thread in threads:
            thread.events.put((state.job, event, state.status, state.message))

    # Packages print greetings to standard output, which belongs to the results of the command.
    redirection = contextlib.redirect_stdout(sys.stderr) if threads else contextlib.nullcontext()
    with redirection:
        try:
            yield watch
        finally:
            deadline = time.monotonic() + CLOSING_SECONDS
            for thread in threads:
                thread.events.put(None)
            for thread in threads:
                thread.join(deadline - time.monotonic())


def observer_classes(observers: ObserverLike | Iterable[ObserverLike]) -> list[type[Observer]]:
    """The classes, each once, with their packages checked."""
    is_one = isinstance(observers, str) or inspect.isclass(observers)
    items: list[ObserverLike] = [observers] if is_one else list(observers)  # type: ignore[arg-type,list-item]
    registry: Registry | None = None
    classes: list[type[Observer]] = []
    for item in items:
        if not isinstance(item, str):
            classes.append(item)
            continue
        registry = registry or Registry()
        names = filter(None, map(str.strip, item.split(",")))
        classes += [registry.get("observer", name) for name in names]
    for cls in classes:
        if not (inspect.isclass(cls) and issubclass(cls, Observer)):
            raise BenchError(f"observe: {cls!r} is no bench.Observer; give a name or a class")
        if cls.requires is not None and importlib.util.find_spec(cls.requires) is None:
            raise BenchError(
                f"--observe {cls.name} needs the package {cls.requires}, which is not installed: "
                f"pip install {cls.requires}"
            )
    return list(dict.fromkeys(classes))


_Queued = tuple[Job, events.Event, str, str | None] | None


class _Thread:
    """One observer in its thread, until it fails or all runs have ended."""

    def __init__(self, cls: type[Observer], out: Path) -> None:
        self.events: queue.Queue[_Queued] = queue.Queue()
        self._cls, self._out = cls, out
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the observer, but not for ever."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            log(
                f"observer {self._cls.name} did not finish within {CLOSING_SECONDS:.0f} "
                "seconds after the last run; what it still had to write is lost"
            )

    def _run(self) -> None:
        try:
            observer = self._cls(self._out)
            while (queued := self.events.get()) is not None:
                _call(observer, *queued)
            observer.close()
        except (Exception, SystemExit) as error:
            log(
                f"observer {self._cls.name} failed and is dropped; the runs continue: "
                f"{type(error).__name__}: {error}"
            )


def _call(
    observer: Observer, job: Job, event: events.Event, status: str, message: str | None
) -> None:
    if not isinstance(job, RunJob):
        return
    match event:
        case events.Started():
            observer.started(job.spec)
        case events.Progress():
            observer.progress(job.spec, event)
        case events.Pretrained():
            observer.pretrained(job.spec, event)
        case events.Scored():
            observer.scored(job.spec, event)
        case events.Ended():
            observer.finished(job.spec, status, message)
