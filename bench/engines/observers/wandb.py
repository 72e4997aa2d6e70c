"""Weights & Biases: one W&B run per run, in the project `bench`.

`pip install wandb` and `wandb login`, then `bench run --observe wandb` with the other options. The
variables of wandb apply: WANDB_PROJECT names another project, WANDB_MODE=offline keeps all local.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.observers.observer import Observer

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engines.events import Pretrained, Progress, Scored
    from bench.spec import RunSpec


class WeightsAndBiases(Observer):
    """Log the training, and the scores as the summary of a run."""

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "Weights & Biases, online or offline"
    requires: ClassVar[str | None] = "wandb"

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._runs: dict[str, Any] = {}

    def _run(self, spec: RunSpec) -> Any:
        """The W&B run of a run; several are open at the same time."""
        import wandb

        if spec.id not in self._runs:
            self._runs[spec.id] = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "bench"),
                id=spec.id,
                name=f"{spec.display_name} s{spec.seed}",
                group=spec.objective,
                config=spec.identity(),
                dir=str(self.out),
                resume="allow",
                reinit="create_new",
            )
        return self._runs[spec.id]

    def progress(self, spec: RunSpec, progress: Progress) -> None:
        self._run(spec).log(progress.metrics, step=progress.step)

    def pretrained(self, spec: RunSpec, pretrained: Pretrained) -> None:
        self._run(spec).summary.update(pretrained.metrics)

    def scored(self, spec: RunSpec, score: Scored) -> None:
        self._run(spec).summary.update({f"scores/{score.title}": score.value})

    def finished(self, spec: RunSpec, status: str, message: str | None) -> None:
        if spec.id in self._runs:
            self._runs.pop(spec.id).finish(exit_code=0 if status == "finished" else 1)
