"""A test part for examples that were published without one.

Rows that belong together (one author, one passage, or simply the same text twice) stay together, so
that a split made here leaks nothing by itself. Who goes where is decided by a hash of the unit, not
by its place: the same rows in another order are parted alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

TEST_SHARE = 0.2


def rows_to_test(
    units: Sequence[str], strata: Sequence[str], share: float = TEST_SHARE, seed: int = 0
) -> Bool[np.ndarray, " N"]:
    """Which rows are the test part: whole units, about `share` of each stratum's rows.

    Args:
        units: What each row belongs to.
        strata: What is to be as frequent in one part as in the other; a unit counts by the first
            of its rows. A stratum of one unit is train's.
        share: Of each stratum's rows.
        seed: Another seed, another choice.
    """
    import numpy as np

    sizes: dict[str, int] = {}
    of_stratum: dict[str, list[str]] = {}
    for unit, stratum in zip(units, strata, strict=True):
        if unit not in sizes:
            of_stratum.setdefault(stratum, []).append(unit)
        sizes[unit] = sizes.get(unit, 0) + 1
    chosen: set[str] = set()
    for members in of_stratum.values():
        chosen |= _choice(members, sizes, share, seed)
    return np.array([unit in chosen for unit in units], dtype=bool)


def _choice(members: list[str], sizes: dict[str, int], share: float, seed: int) -> set[str]:
    """Units of one stratum in the order of their hashes, as long as they fit the share."""
    if len(members) < 2:
        return set()
    members = sorted(members, key=lambda unit: _hash(unit, seed))
    wanted, taken, chosen = share * sum(sizes[unit] for unit in members), 0.0, set()
    for unit in members:
        if taken + sizes[unit] / 2 <= wanted:
            chosen.add(unit)
            taken += sizes[unit]
    return chosen


def _hash(unit: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{unit}".encode("utf-8", "surrogatepass")).digest()
