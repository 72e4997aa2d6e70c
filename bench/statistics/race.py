"""The rule of a race: when an objective may be dropped, whenever one looks.

After each round of seeds, an objective is dropped if it is significantly below the highest. The
best objective is dropped wrongly only if, at some look, some rival appears significantly above it.
Over K - 1 rivals and any number of looks the error is at most ALPHA, if look k spends

    ALPHA / (k (k + 1)) / (K - 1)

on each rival (alpha spending with a union bound; the sum over k is ALPHA). So the race may be
looked at after every round and stopped at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.statistics.power import DifferenceVariance

ALPHA = 0.05
"""Probability, at most, that a race drops the best objective."""


def tail(look: int, num_objectives: int) -> float:
    """The probability that one comparison at this look may err, on one side.

    Args:
        look: 1 for the first look.
        num_objectives: The objectives at the start of the race.
    """
    return ALPHA / (look * (look + 1)) / max(num_objectives - 1, 1)


def dropped(
    means: Sequence[float],
    variance: Callable[[int, int], DifferenceVariance],
    look: int,
    num_objectives: int,
) -> list[int]:
    """The objectives that are significantly below the highest.

    Args:
        means: Means of the objectives that are still in the race.
        variance: The variances of the difference of two of them, and their seeds.
        look: 1 for the first look.
        num_objectives: The objectives at the start of the race.
    """
    best = max(range(len(means)), key=lambda index: means[index])
    level = tail(look, num_objectives)
    losers = []
    for index, mean in enumerate(means):
        of_pair = variance(best, index)
        if index != best and means[best] - mean > of_pair.half_width(of_pair.seeds, level):
            losers.append(index)
    return losers
