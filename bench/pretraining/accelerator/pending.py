"""The sums of a step on their way from the device: one copy a step, which is read a step later.

Python waits until the GPU is idle before it gets a number. Here the copy runs behind the next
step, so the GPU always has work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bench.pretraining.loss_sums import MicroBatchLoss

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.ledger import Ledger
    from bench.pretraining.loss_sums import MicroBatchSums


class Scalars:
    """Scalars of one device, copied to the host at once.

    Args:
        scalars: Tensors without dimensions. On a CPU they are read at once; on a GPU `read` waits
            for the copy and for nothing that was queued after it.
    """

    def __init__(self, scalars: Sequence[Tensor]) -> None:
        device = scalars[0].device
        self._event: torch.cuda.Event | None = None
        if device.type == "cpu":
            self._values = [float(scalar) for scalar in scalars]
            return
        exact = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        stacked = torch.stack([scalar.to(device, exact) for scalar in scalars])
        if device.type == "mps":
            self._values = stacked.tolist()
            return
        self._host = torch.empty(stacked.shape, dtype=exact, pin_memory=True)
        self._host.copy_(stacked, non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record()

    def read(self) -> list[float]:
        """The values, in the order of the tensors."""
        if self._event is not None:
            self._event.synchronize()
            self._values, self._event = self._host.tolist(), None
        return self._values


@dataclasses.dataclass
class PendingStep:
    """A step whose sums were not read yet.

    Args:
        micro_batches: The sums of this process.
        norm: The norm of the gradient, if the update has been made.
        ledger: The costs before the step; they are restored if the step diverged.
    """

    micro_batches: Sequence[MicroBatchSums]
    norm: Tensor
    ledger: Ledger

    def __post_init__(self) -> None:
        sums = [scalar for micro in self.micro_batches for scalar in micro.scalars]
        self._scalars = Scalars([*sums, self.norm])

    def read(self) -> tuple[list[MicroBatchLoss], float]:
        """The losses of the micro-batches as numbers, and the norm of the gradient."""
        *values, norm = self._scalars.read()
        losses, low = [], 0
        for micro in self.micro_batches:
            losses.append(micro.numbers(values[low : low + len(micro.scalars)]))
            low += len(micro.scalars)
        return losses, norm
