"""The update of a step whose sums nobody has read: what must not be updated is skipped on the GPU.

AdamW's fused kernel skips an update if `found_inf` is 1, which gradient scalers use. Here it is 1
where the loss or the gradient is not finite, or where nothing was predicted. After the first step
that is not finite, all further updates are skipped as well: Python hears of it a step later, and
the weights are still those before that step, as on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bench.pretraining.accelerator.weights import gradients_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.accelerator.weights import Weights
    from bench.pretraining.loss_sums import MicroBatchSums


class MaskedUpdate:
    """Divides the gradient, clips its norm and updates the weights, without a wait.

    Args:
        optimizer: A fused optimizer, whose learning rates are set.
        clip_norm: Norm to which larger gradients are scaled down.
        weights: The weights of the run.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, clip_norm: float, weights: Weights
    ) -> None:
        self.optimizer, self.clip_norm, self.weights = optimizer, clip_norm, weights
        self._is_lost: Tensor | None = None

    def __call__(self, micro_batches: Sequence[MicroBatchSums]) -> Tensor:
        """Update the weights, or not, and return the norm of the gradient."""
        gradients = gradients_of(self.weights.parameters.values())
        sums = [micro.scalars for micro in micro_batches]
        nats = torch.stack([scalars[0].float() for scalars in sums]).sum()
        divisor = torch.stack([scalars[2].float() for scalars in sums]).sum()
        nats, divisor = self.weights.ranks.add(torch.stack((nats, divisor))).unbind()
        norm = self.weights.norm() / divisor
        is_empty = divisor == 0
        is_bad = ~nats.isfinite() | (~norm.isfinite() & ~is_empty)
        self._is_lost = is_bad if self._is_lost is None else self._is_lost | is_bad
        scale = torch.clamp(self.clip_norm / (norm + 1e-6), max=1.0) / divisor
        torch._foreach_mul_(gradients, scale)
        self.optimizer.found_inf = (self._is_lost | is_empty).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        return norm
