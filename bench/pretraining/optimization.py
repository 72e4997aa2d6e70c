"""The optimizer and the learning rate schedule, which are the same for every objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from bench.spec import Training


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], training: Training
) -> torch.optim.AdamW:
    """AdamW in one fused kernel, with weight decay for matrices only."""
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    others = [p for p in parameters.values() if p.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.beta1, training.beta2),
        fused=True,
    )


def learning_rate_schedule(training: Training, progress: float) -> float:
    """The learning rate after a share `progress` of the budget (0 to 1).

    It warms up linearly, stays constant and decays linearly to zero.
    """
    rising = (progress + 1e-4) / training.warmup if training.warmup else 1.0
    falling = (1.0 - progress) / training.decay if training.decay else 1.0
    return training.learning_rate * min(1.0, rising, falling)
