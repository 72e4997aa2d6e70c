"""The three hooks a plugin may implement. Each returns classes; nothing is instantiated here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from bench.corpus.sources import Corpus
    from bench.pretraining.objective import Objective
    from bench.probing.task import Task

hookspec = pluggy.HookspecMarker("bench")
hookimpl = pluggy.HookimplMarker("bench")


@hookspec
def bench_objectives() -> list[type[Objective]]:  # type: ignore[empty-body]
    """Pretraining objectives, as classes."""


@hookspec
def bench_tasks() -> list[type[Task]]:  # type: ignore[empty-body]
    """Downstream tasks, as classes."""


@hookspec
def bench_corpora() -> list[type[Corpus]]:  # type: ignore[empty-body]
    """Named corpora for `--corpus NAME`, as classes."""
