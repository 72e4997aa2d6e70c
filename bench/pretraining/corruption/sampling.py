"""Choosing whole units (tokens, words, collocations) at random until a quota of tokens is met.

The rule is sequential: take units in random order, skip one that would overshoot, go on. Done a
unit at a time it costs a thousand small operations a batch; here the order is drawn with
replacement, repeats are ignored (which leaves a random order), and each round settles all units up
to the first that overshoots, and all later ones too long for what is left, in every row at once.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED
from bench.pretraining.corruption import sampling_cpu as selection_cpu

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.noise import Noise

ROUNDS = 3
"""Each round leaves less room than the one before. Three gave what twelve give in all 12,288 rows
of English tried (2,048 byte-level tokens, length 64 to 512; two failed 15 of them); a row they
fail falls short."""
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
        starts: The first token of each unit, a real one; the unit reaches to the next start or to
            the next token that is not real. Tokens of no unit (the rest of a word that the row
            cut) are never chosen.
        real: Tokens that may be chosen; only they count.
        quota: Tokens to choose in each row, not exceeded.
        largest_quota: An upper bound of `quota` known without looking at it.
        noise: The draws; stream "units".
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
    """What `choose_units` marks, as positions and whether each is one; units in the order drawn."""
    slots, num_draws = max(largest_quota, 1), _num_draws(real.shape[1], largest_quota)
    if real.device.type == "cpu":
        return selection_cpu.unit_positions(starts, real, quota, slots, num_draws, ROUNDS, noise)
    return positions_unseen(starts, real, quota, slots, num_draws, noise)


def positions_unseen(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    slots: int,
    num_draws: int,
    noise: Noise,
) -> tuple[Int[Tensor, "B K"], Bool[Tensor, "B K"]]:
    """`unit_positions` for a GPU: no shape and no branch depends on what the tensors hold."""
    first, size = _draw(starts, real, quota, num_draws, noise)
    end = size.cumsum(1)
    begin = end - size
    drawn = _count(size.shape[1], size.device).expand_as(size)
    # Each unit writes its number where its slots begin; the following slots take it over.
    owner = size.new_zeros(len(size), slots + 1)
    owner.scatter_(1, torch.where(size > 0, begin, slots), drawn)
    owner = owner[:, :slots].cummax(1).values
    slot = _count(slots, size.device)
    filled = slot < end[:, -1:]
    return ((first - begin).gather(1, owner) + slot) * filled, filled


def _num_draws(length: int, quota: int) -> int:
    """Draws with replacement that meet the quota, with six deviations to spare.

    After n draws of L units e^(-n/L) of them are still missing, give or take the deviation of that;
    some more are for units that are skipped.
    """
    missing = max(1 - quota / length, 0.02)
    draws = -math.log(missing)  # for each unit
    variance = length * missing * (1 - (1 + draws) * missing)
    return math.ceil(draws * length + 6 * math.sqrt(variance) / missing + _SPARE)


def _draw(
    starts: Tensor, real: Tensor, quota: Tensor, num_draws: int, noise: Noise
) -> tuple[Int[Tensor, "B N"], Int[Tensor, "B N"]]:
    """First position and number of tokens of the units drawn; zero tokens where not taken."""
    rows, length = real.shape
    # What is not real stands between units as a unit of its own, which nobody may draw.
    unit = (starts | ~real).cumsum(1)
    at = _count(length, real.device).expand(rows, -1)
    last = unit.new_zeros(rows, length + 2).scatter_reduce_(1, unit, at, "amax")
    number, is_first = _order(unit[:, -1:], length, num_draws, noise)
    first = last.gather(1, number) + 1
    size = last.gather(1, number + 1) + 1 - first
    first.clamp_(max=length - 1)
    weight = size * (is_first & starts.gather(1, first))
    quota = quota[:, None]
    for _ in range(ROUNDS):  # on a GPU looking whether all fit costs more than doing it again
        fits = weight.cumsum(1) <= quota
        room = quota - (weight * fits).sum(1, keepdim=True)
        weight *= fits | (size <= room)
    return first, weight * (weight.cumsum(1) <= quota)


def _order(
    num_units: Int[Tensor, "B 1"], length: int, num_draws: int, noise: Noise
) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B N"]]:
    """Numbers of units in random order, and where each occurs for the first time."""
    rows = len(num_units)
    if num_draws >= length:  # all of them: sorting is cheaper than drawing until none is missing
        # The number in the low bits makes keys distinct, so that the order is the same everywhere.
        number = _count(length, num_units.device)
        keys = noise.bits("units", (rows, length)) * length + number
        drawn = torch.where(number < num_units, keys, 2**62).argsort(1)
        return drawn, drawn < num_units
    drawn = (noise.bits("units", (rows, num_draws)) * num_units) >> 32
    at = _count(num_draws, drawn.device).expand_as(drawn)
    earliest = torch.full_like(num_units, num_draws).expand(-1, length + 1).contiguous()
    earliest.scatter_reduce_(1, drawn, at, "amin")
    return drawn, earliest.gather(1, drawn) == at


def gather_predicted(
    tokens: Int[Tensor, "B L"], chosen: Bool[Tensor, "B L"], capacity: int
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
    """Positions and labels of the chosen tokens in a fixed shape, left to right.

    `nonzero` would give a shape that changes from step to step: a stall and a recompilation on a
    GPU. Unused slots point at position 0 and carry no label.
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
    """0, 1, 2, ...: kept, because making it costs as much as using it."""
    return torch.arange(size, device=device)
