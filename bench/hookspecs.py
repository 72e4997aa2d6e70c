"""The four hooks that a plugin can implement. Each returns classes, not instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pluggy

hookspec = pluggy.HookspecMarker("bench")
F = TypeVar("F", bound=Callable[..., Any])
_marker = pluggy.HookimplMarker("bench")


def hookimpl(function: F) -> F:
    """Mark the function of a plugin that returns its classes.

    The function is named after one of the hooks: `bench_objectives`, `bench_tasks`,
    `bench_corpora` or `bench_observers`. An entry point of the group `bench` names the module
    (`bench new` writes both).

    Examples:
        >>> import bench
        >>> @bench.hookimpl
        ... def bench_objectives():
        ...     return []
        >>> bench_objectives()
        []
    """
    return _marker(function)


@hookspec
def bench_objectives() -> list[type[Any]]:  # type: ignore[empty-body]
    """Pretraining objectives, as classes."""


@hookspec
def bench_tasks() -> list[type[Any]]:  # type: ignore[empty-body]
    """Downstream tasks, as classes."""


@hookspec
def bench_corpora() -> list[type[Any]]:  # type: ignore[empty-body]
    """Named corpora for `--corpus NAME`, as classes."""


@hookspec
def bench_observers() -> list[type[Any]]:  # type: ignore[empty-body]
    """Observers of runs for `--observe NAME`, as classes."""
