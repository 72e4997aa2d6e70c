"""Initial weights of the encoder and of heads, as a function of the seed and the parameter name.

They come from counter-based noise and not from torch's generator. So the encoder of a seed is
the same for every objective, for every head and on every device.
"""

from __future__ import annotations

import collections
import math
from typing import TYPE_CHECKING

import torch

from bench.pretraining.noise import Noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

INITIAL_DEVIATION = 0.02
"""Standard deviation of the initial weights, as in BERT and ModernBERT."""


def initial_head(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A head with its initial weights, equal in every process.

    Torch's generator has the run's seed while the head is built, for what a head draws beside its
    parameters; its state is restored afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build()
    initialise(head, seed, "head")
    return head


@torch.no_grad()
def initialise(
    module: nn.Module, seed: int, part: str, deviation: float | None = INITIAL_DEVIATION
) -> None:
    """Draw the initial weights from counter-based noise, with one stream for each parameter.

    Weights are normal and not truncated, with a standard deviation of 0.02. Matrices that write to
    a residual stream (`Wo`) are divided by the square root of their number. A deviation of
    1/sqrt(fan-in) was tried: on real text masked objectives stayed on the unigram plateau for
    longer (docs/recipe.md). Vectors named `bias` are 0 and those named `weight`, of norms, are 1,
    whatever their module drew: torch's generator has another seed in every process. Because there
    is no generator, an additional parameter does not change the others.

    Args:
        module: The module whose parameters are overwritten in place.
        seed: Seed of the run.
        part: Prefix of the stream names: `encoder` or `head`.
        deviation: The standard deviation of matrices; None: 1/sqrt(fan-in), for probes, which are
            trained for a few epochs only.
    """
    writers = collections.Counter(
        name.partition("layers.")[0]
        for name, _ in module.named_parameters()
        if name.endswith(".Wo.weight")
    )
    for name, parameter in module.named_parameters():
        kind = name.rpartition(".")[2]
        if parameter.ndim < 2 and kind in ("bias", "weight"):
            parameter.fill_(float(kind == "weight"))
            continue
        rows = parameter.view(-1, 1) if parameter.ndim < 2 else parameter
        noise = Noise(seed, 0, torch.arange(rows.shape[0]))
        first = noise.uniform(f"{part}.{name}.radius", tuple(rows.shape))
        second = noise.uniform(f"{part}.{name}.angle", tuple(rows.shape))
        normal = (-2 * (1 - first).log()).sqrt() * (2 * math.pi * second).cos()
        scale = rows.shape[1] ** -0.5 if deviation is None else deviation
        if name.endswith(".Wo.weight"):
            scale /= writers[name.partition("layers.")[0]] ** 0.5
        rows.copy_(normal * scale)
