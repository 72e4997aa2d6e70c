"""This process: the cores and GPUs that it may use, and the signals that stop its long work.

Python answers a signal between two of its own instructions. A call of a library that takes minutes,
as the training of a tokenizer does, is therefore made in another thread, while the main thread
waits for it and can be interrupted.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from types import FrameType
from typing import TypeVar

from bench.errors import BenchError, StoppedError

T = TypeVar("T")
BEAT_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


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


def die_with_parent(number: int) -> None:
    """Make Linux send a signal to this process when its parent dies; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


SILENCE_SECONDS = 3600.0
"""A worker that reports nothing for so long is taken to hang (BENCH_SILENCE_SECONDS)."""


def silence_seconds() -> float:
    """The value of BENCH_SILENCE_SECONDS.

    Raises:
        BenchError: It is no number of seconds.
    """
    text = os.environ.get("BENCH_SILENCE_SECONDS", str(SILENCE_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise BenchError(
            f"BENCH_SILENCE_SECONDS is {text[:40]!r}, and it must be a number of seconds above 0, "
            "as 3600"
        )
    return seconds


class _Heart:
    """The function that is called while long work goes on."""

    def __init__(self) -> None:
        self.call: Callable[[], None] | None = None
        self.seconds, self.last = BEAT_SECONDS, 0.0


_heart = _Heart()


def on_beat(call: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
    """Have `call` called while long work of this process goes on, once in `seconds` at most."""
    _heart.call, _heart.seconds = call, seconds


def beat() -> None:
    """Say that long work goes on: called in the loops of scoring and of waiting.

    A thread that said so would say it as well for a plugin that hangs.
    """
    now = time.monotonic()
    if _heart.call is not None and now - _heart.last >= _heart.seconds:
        _heart.last = now
        _heart.call()


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to stop."""


class _Interrupted(KeyboardInterrupt):
    """A signal; a `KeyboardInterrupt`, so that no `except Exception` takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


@contextlib.contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Turn ^C and SIGTERM into a `StoppedError`, with exit code 130 or 75.

    Only the main thread receives signals; elsewhere this does nothing. The innermost `stoppable`
    says its message. Handlers that the caller installed stay as they are.

    Args:
        message: Says what was stopped and how it is done again.
    """
    own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if threading.current_thread() is not threading.main_thread():
        own = {}
    ours = [n for n, usual in own.items() if signal.getsignal(n) in (usual, _interrupt)]
    previous = {number: signal.signal(number, _interrupt) for number in ours}
    try:
        yield
    except _Interrupted as error:
        stopped = StoppedError(message)
        if error.number == signal.SIGINT:
            stopped.exit_code = 130
        raise stopped from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def in_thread(call: Callable[[Callable[[Iterable[str]], Iterator[str]]], T]) -> T:
    """Make a long call of a library in another thread, and return its result.

    Args:
        call: The call. It receives a function for the texts that the library reads: they end early
            where the main thread was interrupted, so that the library soon ends as well.
    """
    is_over = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def until_over(texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            if is_over.is_set():
                return
            yield text

    def work() -> None:
        try:
            results.append(call(until_over))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join()
    finally:
        is_over.set()
    if errors:
        raise errors[0]
    return results[0]
