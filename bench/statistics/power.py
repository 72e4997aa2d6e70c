"""How many seeds it takes to see a difference, and the smallest difference that examples allow."""

from __future__ import annotations

import dataclasses
import math

from scipy.special import stdtrit

from bench.statistics.intervals import LEVEL

MAX_SEEDS = 1_000


@dataclasses.dataclass(frozen=True)
class DifferenceVariance:
    """The variances of a paired difference of two objectives on one metric."""

    seed: float
    """Between seeds, of one seed of both objectives together."""
    example: float
    """Of the difference over test examples; more seeds do not reduce it."""
    freedom: float = math.inf
    """Degrees of freedom with which `seed` is known, with `seeds` seeds of each objective."""
    seeds: int = 0

    def half_width(self, seeds: int, tail: float = (1 - LEVEL) / 2) -> float:
        """Half of the interval of the difference with this number of seeds of each.

        It is the minimum detectable difference, too (95 % level, 50 % power).

        Args:
            seeds: The number of seeds.
            tail: The probability of each tail outside the interval.
        """
        # Every further seed of both objectives adds a degree of freedom, if it was not known.
        freedom = max(1.0, self.freedom + seeds - self.seeds)
        of_seeds = stdtrit(min(freedom, 1e9), 1 - tail) ** 2 * self.seed / seeds
        of_examples = stdtrit(math.inf, 1 - tail) ** 2 * self.example
        return math.sqrt(float(of_seeds + of_examples))

    def seeds_for(self, difference: float) -> int | None:
        """The number of seeds of each objective whose interval excludes zero at this difference.

        None if the test examples alone hide it, or if it takes more than `MAX_SEEDS`.
        """
        low, high = 2, MAX_SEEDS
        if self.half_width(high) > difference:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if self.half_width(middle) <= difference else (middle + 1, high)
            )
        return low
