"""Runs of adjacent tokens: the distribution of their lengths, and where they begin and end."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


def ordered_positions(marked: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """Positions of the marked tokens, left to right, then the row's length in unused slots."""
    length = marked.shape[1]
    at = torch.arange(length, device=marked.device)
    return torch.where(marked, at, length).sort(1).values


def run_edges(marked: Bool[Tensor, "B L"]) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"]]:
    """First and last position of each marked token's run; adjacent marked tokens are one run."""
    length = marked.shape[1]
    at = torch.arange(length, device=marked.device)
    begins = marked & ~torch.nn.functional.pad(marked[:, :-1], (1, 0))
    ends = marked & ~torch.nn.functional.pad(marked[:, 1:], (0, 1))
    first = torch.where(begins, at, 0).cummax(1).values
    last = torch.where(ends, at, length - 1).flip(1).cummin(1).values.flip(1)
    return first, last


def exceeding(
    run: Bool[Tensor, "B L"], units: Bool[Tensor, "B L"], room: Int[Tensor, "B 1"]
) -> Bool[Tensor, "B L"]:
    """Mark the tokens of a run beyond the first `room` ones, extended to whole units.

    Args:
        run: One run per row.
        units: The first token of each unit (word or token); a unit remains whole or not at all.
        room: Number of tokens that may remain.
    """
    unit = units.long().cumsum(1)
    used = run.long().cumsum(1)
    most = used.new_zeros(used.shape[0], used.shape[1] + 1)
    return run & (most.scatter_reduce(1, unit, used, "amax").gather(1, unit) > room)


def truncated_geometric(
    uniform: Float[Tensor, "*s"], mean: float, longest: int
) -> Int[Tensor, "*s"]:
    """Turn draws from [0, 1) into lengths 1..longest by the inverse distribution function."""
    lengths = torch.ones_like(uniform, dtype=torch.long)
    for bound in cumulative(mean, longest)[:-1]:
        lengths += uniform >= bound
    return lengths


@functools.cache
def cumulative(mean: float, longest: int) -> tuple[float, ...]:
    """Cumulative probabilities of lengths 1..longest, truncated geometric with the given mean."""
    low, high = 0.0, 1.0  # bisection: the mean falls as p grows
    for _ in range(60):
        p = (low + high) / 2
        weights = [(1 - p) ** k for k in range(longest)]
        mean_at_p = sum((k + 1) * w for k, w in enumerate(weights)) / sum(weights)
        low, high = (p, high) if mean_at_p > mean else (low, p)
    total = sum(weights)
    return tuple(sum(weights[: k + 1]) / total for k in range(longest))
