"""Runs in this process: what is ignored of them, and when they stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.errors import StoppedError

MakeSpec = Callable[..., Any]


def ignore_progress(_progress: object) -> None:
    pass


def stop_after(steps: int) -> Callable[[], BaseException | None]:
    """A `should_stop` that requests a stop after some steps."""
    left = [steps]

    def should_stop() -> BaseException | None:
        left[0] -= 1
        return StoppedError("stopped") if left[0] <= 0 else None

    return should_stop
