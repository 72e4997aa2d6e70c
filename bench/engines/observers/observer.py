"""The contract of an observer: it is told what runs do, and cannot change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engines.events import Pretrained, Progress, Scored
    from bench.spec import RunSpec


class Observer:
    """Watches the runs of a command, for example for a dashboard. A subclass overrides methods.

    Observers live in the process of the command, not in the workers that train, so no weight and
    no id of a run depends on them. Each has a thread of its own, in which its methods are called
    one after the other, for all runs. Runs may be in progress at the same time: `spec.id` tells
    them apart. An observer that raises an exception is reported once and gets no further calls.

    Examples:
        >>> import bench
        >>> class Losses(bench.Observer):
        ...     name = "losses"
        ...     summary = "collects the losses of every run"
        ...     losses: dict[str, list[float]] = {}
        ...     def progress(self, spec, progress):
        ...         self.losses.setdefault(spec.id, []).append(progress.nats)
        >>> comparison = bench.run("token", budget="20k", seeds=1, tasks="none", observe=Losses,
        ...                        out=folder / "observed", progress=False)
        >>> sorted(run[:13] for run in Losses.losses)
        ['token-tiny-s0']
    """

    name: ClassVar[str]
    """The name for `--observe`."""
    summary: ClassVar[str]
    """One line."""
    requires: ClassVar[str | None] = None
    """A package that must be installed, which is checked before anything is trained."""

    def __init__(self, out: Path) -> None:
        """Prepare to observe; nothing is trained yet.

        Args:
            out: Folder of the records.
        """
        self.out = out

    def started(self, spec: RunSpec) -> None:
        """The worker of a run was started. Finished work is found by the worker, too."""

    def progress(self, spec: RunSpec, progress: Progress) -> None:
        """The state of the training, at most five times a second."""

    def pretrained(self, spec: RunSpec, pretrained: Pretrained) -> None:
        """The pretraining is on disk, new or found."""

    def scored(self, spec: RunSpec, score: Scored) -> None:
        """A new score is on disk; scores that were there before are not repeated."""

    def finished(self, spec: RunSpec, status: str, message: str | None) -> None:
        """The worker has ended: `finished`, `diverged`, `stopped` or `failed`, with the reason."""

    def close(self) -> None:
        """All runs have ended."""
