"""Random choice of whole units (tokens, words, collocations) until a quota of tokens is met.

The rule is sequential: take units in random order and skip a unit that would exceed the quota. One
unit at a time, this takes a thousand small operations per batch. Here the order is drawn with
replacement and repeats are ignored, which leaves a random order. Each round settles, in every row
at once, all units up to the first that exceeds the quota, and skips all later units that are too
long for the remaining room.

There are two implementations with the same draws and the same result, bit for bit. On a GPU no
shape and no branch may depend on the data. On a CPU the cost is the number of operations on small
arrays: numpy needs a third of torch's time for them, and units can be listed instead of marked in
a grid, because shapes may follow the data.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.pretraining.batch import IGNORED

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.noise import Noise

ROUNDS = 3
"""Each round leaves less room than the one before. Three rounds gave the result of twelve in all
12,288 rows of English tried (2,048 byte-level tokens, length 64 to 512; two rounds failed in 15 of
them). A row in which they fail has fewer tokens than its quota."""
_SPARE = 16


def choose_units(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    noise: Noise,
) -> Bool[Tensor, "B L"]:
    """Mark the tokens of randomly chosen whole units.

    Args:
        starts: The first token of each unit, always a real one; a unit extends to the next start
            or to the next token that is not real. Tokens outside all units (the rest of a word
            that the row's beginning cuts) are never chosen.
        real: Tokens that may be chosen; only these count.
        quota: Maximum number of tokens to choose in each row.
        largest_quota: An upper bound of `quota` that does not depend on the data.
        noise: The source of the draws; the stream is "units".
    """
    rows, length = real.shape
    positions, filled = unit_positions(starts, real, quota, largest_quota, noise)
    chosen = torch.zeros(rows, length + 1, dtype=torch.bool, device=real.device)
    return chosen.scatter_(1, torch.where(filled, positions, length), filled)[:, :length]


def unit_positions(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    noise: Noise,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """Positions that `choose_units` marks, units in drawn order, and which slots are filled."""
    slots, num_draws = max(largest_quota, 1), _num_draws(real.shape[1], largest_quota)
    if real.device.type == "cpu":
        return unit_positions_on_cpu(starts, real, quota, slots, num_draws, noise)
    return unit_positions_on_gpu(starts, real, quota, slots, num_draws, noise)


def unit_positions_on_gpu(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    slots: int,
    num_draws: int,
    noise: Noise,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """`unit_positions` for a GPU: no shape and no branch depends on the values of tensors."""
    first, size = _draw(starts, real, quota, num_draws, noise)
    end = size.cumsum(1)
    begin = end - size
    drawn = _count(size.shape[1], size.device).expand_as(size)
    # Each unit writes its index at its first slot; `cummax` copies it to its other slots.
    owner = size.new_zeros(len(size), slots + 1)
    owner.scatter_(1, torch.where(size > 0, begin, slots), drawn)
    owner = owner[:, :slots].cummax(1).values
    slot = _count(slots, size.device)
    filled = slot < end[:, -1:]
    return ((first - begin).gather(1, owner) + slot) * filled, filled


def _num_draws(length: int, quota: int) -> int:
    """Number of draws with replacement that meets the quota with a margin of six deviations.

    After n draws from L units a share e^(-n/L) of them is still missing on average. `_SPARE` more
    draws make up for skipped units.
    """
    missing = max(1 - quota / length, 0.02)
    draws = -math.log(missing)  # per unit
    variance = length * missing * (1 - (1 + draws) * missing)
    return math.ceil(draws * length + 6 * math.sqrt(variance) / missing + _SPARE)


def _draw(
    starts: Tensor, real: Tensor, quota: Tensor, num_draws: int, noise: Noise
) -> tuple[Int[Tensor, "B N"], Int[Tensor, "B N"]]:
    """First position and number of tokens of each drawn unit; zero tokens if it is skipped."""
    rows, length = real.shape
    # Each token that is not real is a separate unit, which is never taken.
    unit = (starts | ~real).cumsum(1)
    at = _count(length, real.device).expand(rows, -1)
    last = unit.new_zeros(rows, length + 2).scatter_reduce_(1, unit, at, "amax")
    number, is_first = _order(unit[:, -1:], length, num_draws, noise)
    first = last.gather(1, number) + 1
    size = last.gather(1, number + 1) + 1 - first
    first.clamp_(max=length - 1)
    weight = size * (is_first & starts.gather(1, first))
    quota = quota[:, None]
    for _ in range(ROUNDS):  # on a GPU a test whether all fit costs more than another round
        fits = weight.cumsum(1) <= quota
        room = quota - (weight * fits).sum(1, keepdim=True)
        weight *= fits | (size <= room)
    return first, weight * (weight.cumsum(1) <= quota)


def _order(
    num_units: Int[Tensor, "B 1"], length: int, num_draws: int, noise: Noise
) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B N"]]:
    """Indices of units in random order, and True at the first occurrence of each."""
    rows = len(num_units)
    if num_draws >= length:  # sorting all units is cheaper than drawing until none is missing
        # The index in the low bits makes keys distinct, so the order is the same on all devices.
        number = _count(length, num_units.device)
        keys = noise.bits("units", (rows, length)) * length + number
        drawn = torch.where(number < num_units, keys, 2**62).argsort(1)
        return drawn, drawn < num_units
    drawn = (noise.bits("units", (rows, num_draws)) * num_units) >> 32
    at = _count(num_draws, drawn.device).expand_as(drawn)
    earliest = torch.full_like(num_units, num_draws).expand(-1, length + 1).contiguous()
    earliest.scatter_reduce_(1, drawn, at, "amin")
    return drawn, earliest.gather(1, drawn) == at


def unit_positions_on_cpu(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    slots: int,
    num_draws: int,
    noise: Noise,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """`unit_positions` for a CPU, in numpy; the shapes of intermediate arrays follow the data."""
    first, weight = _draw_on_cpu(starts.numpy(), real.numpy(), quota.numpy(), num_draws, noise)
    end = weight.cumsum(1)
    filled = np.arange(slots) < end[:, -1:]
    positions = np.zeros(filled.shape, dtype=np.int64)
    is_taken = weight > 0
    length = weight[is_taken]
    before = length.cumsum() - length  # counted over all rows, in the order of `filled`
    offsets = np.repeat(first[is_taken] - before, length)
    positions[filled] = offsets + np.arange(len(offsets))
    return torch.from_numpy(positions), torch.from_numpy(filled)


def _draw_on_cpu(
    starts: Any, real: Any, quota: Any, num_draws: int, noise: Noise
) -> tuple[Any, Any]:
    """`_draw` in numpy; both results are [B, N]."""
    rows, length = real.shape
    # Each token that is not real is a separate unit, which is never taken.
    is_edge = np.ones(rows * length + 1, dtype=bool)
    np.logical_or(starts, ~real, out=is_edge[:-1].reshape(rows, length))
    edges = np.flatnonzero(is_edge)
    row = np.arange(0, rows * length + 1, length)
    first_edges = edges.searchsorted(row)
    number, is_first = _order_on_cpu(np.diff(first_edges)[:, None], length, num_draws, noise)
    number += first_edges[:-1, None]
    row = row[:, None]
    first = np.minimum(edges.take(number, mode="clip"), row[1:] - 1)
    size = np.minimum(edges.take(number + 1, mode="clip"), row[1:]) - first
    weight = size * (is_first & starts.ravel().take(first))
    quota = quota[:, None]
    for _ in range(ROUNDS):
        fits = weight.cumsum(1) <= quota
        if fits.all():
            break
        room = quota - (weight * fits).sum(1, keepdims=True)
        weight *= fits | (size <= room)
    else:
        weight *= weight.cumsum(1) <= quota
    return first - row[:-1], weight


def _order_on_cpu(num_units: Any, length: int, num_draws: int, noise: Noise) -> tuple[Any, Any]:
    """`_order` in numpy; both results are [B, N]."""
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


def gather_predicted(
    tokens: Int[Tensor, "B L"], chosen: Bool[Tensor, "B L"], capacity: int
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Positions and labels of the chosen tokens in a fixed shape, left to right.

    `nonzero` would give a shape that changes from step to step, which stalls a GPU and causes
    recompilation. Unused slots have position 0 and the label `IGNORED`.
    """
    capacity = max(capacity, 1)
    slot = torch.where(chosen, chosen.cumsum(1) - 1, capacity).clamp_(max=capacity)
    at = _count(tokens.shape[1], tokens.device).expand_as(tokens)
    empty = tokens.new_zeros(tokens.shape[0], capacity + 1)
    positions = empty.scatter(1, slot, at)[:, :capacity]
    labels = torch.full_like(empty, IGNORED).scatter_(1, slot, tokens)[:, :capacity]
    return positions, labels


@functools.lru_cache(maxsize=64)
def _count(size: int, device: torch.device) -> Int[Tensor, " N"]:
    """0, 1, 2, ..., cached because creating it costs as much as using it."""
    return torch.arange(size, device=device)
