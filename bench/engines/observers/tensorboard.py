"""TensorBoard: event files beside the records, one folder per run.

`pip install tensorboard`, then `bench run --observe tensorboard` with the other options, and
`tensorboard --logdir results/tensorboard` to look at it, also while the runs are in progress.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.engines.observers.observer import Observer

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engines.events import Pretrained, Progress, Scored
    from bench.spec import RunSpec


class TensorBoard(Observer):
    """Write scalars of the training and of the scores."""

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "event files for TensorBoard, in tensorboard/ beside the records"
    requires: ClassVar[str | None] = "tensorboard"

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._writers: dict[str, Any] = {}
        self._steps: dict[str, int] = {}

    def _write(self, spec: RunSpec, metrics: dict[str, Any]) -> None:
        """Add what is known at the last step; the first metrics of a run make its file."""
        from torch.utils.tensorboard import SummaryWriter

        if spec.id not in self._writers:
            folder = self.out / "tensorboard" / spec.id
            self._writers[spec.id] = SummaryWriter(str(folder))
        for name, value in metrics.items():
            if value is not None:
                self._writers[spec.id].add_scalar(name, value, self._steps.get(spec.id, 0))

    def progress(self, spec: RunSpec, progress: Progress) -> None:
        self._steps[spec.id] = progress.step
        self._write(spec, progress.metrics)

    def pretrained(self, spec: RunSpec, pretrained: Pretrained) -> None:
        self._steps[spec.id] = pretrained.steps
        self._write(spec, pretrained.metrics)

    def scored(self, spec: RunSpec, score: Scored) -> None:
        self._write(spec, {f"scores/{score.title}": score.value})

    def finished(self, spec: RunSpec, status: str, message: str | None) -> None:
        if spec.id in self._writers:
            self._writers.pop(spec.id).close()
