"""Initial weights of the encoder and of heads, as a function of the seed and the parameter name.

Matrices come from counter-based noise and not from torch's generator. So the encoder of a seed is
the same for every objective, for every head and on every device.
"""

from __future__ import annotations

import collections
import math
from typing import TYPE_CHECKING

import torch

from bench.pretraining.noise import Noise

if TYPE_CHECKING:
    from torch import nn

INITIAL_DEVIATION = 0.02
"""Standard deviation of the weights of embeddings."""


@torch.no_grad()
def initialise(module: nn.Module, seed: int, part: str) -> None:
    """Draw the initial weights from counter-based noise, with one stream for each parameter.

    Weights are normal and not truncated. Their standard deviation is 0.02 for embeddings and
    1/sqrt(fan-in) for matrices, so that the scale of the output does not depend on the width.
    Matrices that write to a residual stream (`Wo`) are divided by the square root of their number.
    Because there is no generator, an additional parameter does not change the others. Vectors, such
    as norms and biases, keep the values that their module gave them.

    Args:
        module: The module whose parameters are overwritten in place.
        seed: Seed of the run.
        part: Prefix of the stream names: `encoder` or `head`.
    """
    writers = collections.Counter(
        name.partition("layers.")[0]
        for name, _ in module.named_parameters()
        if name.endswith(".Wo.weight")
    )
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            continue  # not changed: norms start at one, and a module sets its own biases
        noise = Noise(seed, 0, torch.arange(parameter.shape[0]))
        first = noise.uniform(f"{part}.{name}.radius", tuple(parameter.shape))
        second = noise.uniform(f"{part}.{name}.angle", tuple(parameter.shape))
        normal = (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()
        deviation = parameter.shape[1] ** -0.5
        if "embeddings" in name:
            deviation = INITIAL_DEVIATION
        if name.endswith(".Wo.weight"):
            deviation /= writers[name.partition("layers.")[0]] ** 0.5
        parameter.copy_(normal * deviation)
