"""`selection.unit_positions` on a CPU: the same draws, the same rule, the same bits, in numpy.

What costs there is the number of operations on small arrays, and numpy's cost a third of torch's;
and shapes may follow the data, so that units are listed where a GPU has to mark them in a grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.noise import Noise


def unit_positions(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    slots: int,
    num_draws: int,
    rounds: int,
    noise: Noise,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """See there; `slots` and `num_draws` are what it makes of `largest_quota`."""
    first, weight = _draw(starts.numpy(), real.numpy(), quota.numpy(), num_draws, rounds, noise)
    end = weight.cumsum(1)
    filled = np.arange(slots) < end[:, -1:]
    positions = np.zeros(filled.shape, dtype=np.int64)
    is_taken = weight > 0
    length = weight[is_taken]
    before = length.cumsum() - length  # counted over all rows, as `filled` lists them
    found = np.repeat(first[is_taken] - before, length)
    positions[filled] = found + np.arange(len(found))
    return torch.from_numpy(positions), torch.from_numpy(filled)


def _draw(
    starts: Any, real: Any, quota: Any, num_draws: int, rounds: int, noise: Noise
) -> tuple[Any, Any]:
    """[B, N]: first position and number of tokens of the units drawn; zero where not taken."""
    rows, length = real.shape
    # What is not real stands between units as a unit of its own, which nobody may draw.
    is_edge = np.ones(rows * length + 1, dtype=bool)
    np.logical_or(starts, ~real, out=is_edge[:-1].reshape(rows, length))
    edges = np.flatnonzero(is_edge)
    row = np.arange(0, rows * length + 1, length)
    listed = edges.searchsorted(row)
    number, is_first = _order(np.diff(listed)[:, None], length, num_draws, noise)
    number += listed[:-1, None]
    row = row[:, None]
    first = np.minimum(edges.take(number, mode="clip"), row[1:] - 1)
    size = np.minimum(edges.take(number + 1, mode="clip"), row[1:]) - first
    weight = size * (is_first & starts.ravel().take(first))
    quota = quota[:, None]
    for _ in range(rounds):
        fits = weight.cumsum(1) <= quota
        if fits.all():
            break
        room = quota - (weight * fits).sum(1, keepdims=True)
        weight *= fits | (size <= room)
    else:
        weight *= weight.cumsum(1) <= quota
    return first - row[:-1], weight


def _order(num_units: Any, length: int, num_draws: int, noise: Noise) -> tuple[Any, Any]:
    """[B, N]: numbers of units in random order, and where each occurs for the first time."""
    rows = len(num_units)
    if num_draws >= length:
        number = np.arange(length)
        keys = noise.bits("units", (rows, length)).numpy() * length + number
        drawn = np.where(number < num_units, keys, 2**62).argsort(1)
        return drawn, drawn < num_units
    drawn = noise.bits("units", (rows, num_draws)).numpy() * num_units >> 32
    cell = (drawn + np.arange(rows)[:, None] * length).ravel()
    at = np.arange(drawn.size)
    earliest = np.full(rows * length, drawn.size)
    np.minimum.at(earliest, cell, at)
    return drawn, (earliest.take(cell) == at).reshape(drawn.shape)
