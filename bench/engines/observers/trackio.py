"""trackio: a local dashboard, one trackio run per run, in the project `bench`.

`pip install trackio`, then `bench run --observe trackio` with the other options, and `trackio show
--project bench` to look at it. The variable TRACKIO_PROJECT names another project.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.observers.observer import Observer

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engines.events import Pretrained, Progress, Scored
    from bench.spec import RunSpec


class Trackio(Observer):
    """Log the training and the scores to trackio."""

    name: ClassVar[str] = "trackio"
    summary: ClassVar[str] = "a local trackio dashboard"
    requires: ClassVar[str | None] = "trackio"

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._runs: dict[str, Any] = {}

    def _log(self, spec: RunSpec, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log metrics without what is unknown; the first of a run open it."""
        import trackio

        if spec.id not in self._runs:
            self._runs[spec.id] = trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", "bench"),
                name=spec.id,
                group=spec.objective,
                config=spec.identity(),
                resume="allow",
                embed=False,
            )
        known = {name: value for name, value in metrics.items() if value is not None}
        self._runs[spec.id].log(known, step=step)

    def progress(self, spec: RunSpec, progress: Progress) -> None:
        self._log(spec, progress.metrics, progress.step)

    def pretrained(self, spec: RunSpec, pretrained: Pretrained) -> None:
        self._log(spec, pretrained.metrics, pretrained.steps)

    def scored(self, spec: RunSpec, score: Scored) -> None:
        self._log(spec, {f"scores/{score.title}": score.value})

    def finished(self, spec: RunSpec, status: str, message: str | None) -> None:
        if spec.id in self._runs:
            self._runs.pop(spec.id).finish()
