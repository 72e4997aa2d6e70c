"""Units that are longer than the quota of their row: they are cut, so that something is asked.

A unit (a word, a collocation) is chosen whole or not at all. In a text without spaces a "word" can
be longer than all that a row may hide: with words between spaces, `whole_word` and `span` hid 0 of
63 tokens of a DNA sequence at a rate of 15 %. Such a unit is cut to its parts, a collocation to its
words and a word to its tokens. Units that fit are left as they are. In ordinary text all fit, which
numpy sees on a CPU in a fraction of the time of the cut; on a GPU no branch depends on the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


def cut_units(
    starts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    *levels: Bool[Tensor, "B L"],
) -> Bool[Tensor, "B L"]:
    """The first token of each unit, after every unit longer than the quota was cut to its parts.

    Args:
        starts: The first token of each unit; a unit ends at the next start, or at the next token
            that is not real.
        real: The tokens that count.
        quota: The number of tokens that each row may choose.
        levels: The first token of each part of a unit, the coarsest parts first.
    """
    if real.device.type == "cpu" and _all_fit(starts, real, quota):
        return starts
    rows, length = real.shape
    for parts in levels:
        unit = (starts | ~real).long().cumsum(1)
        sizes = unit.new_zeros(rows, length + 1).scatter_add_(1, unit, real.long())
        is_long = (sizes > quota[:, None]).gather(1, unit) & (unit > 0)
        starts = starts | (parts & real & is_long)
    return starts


def _all_fit(
    starts: Bool[Tensor, "B L"], real: Bool[Tensor, "B L"], quota: Int[Tensor, " B"]
) -> bool:
    """Whether the longest unit of all rows is within the lowest quota."""
    import numpy as np  # here, because `bench list` imports every objective

    is_edge = np.logical_or(starts.numpy(), ~real.numpy())
    is_edge[:, 0] = True
    longest = np.diff(np.flatnonzero(is_edge), append=is_edge.size).max()
    return bool(longest <= int(quota.min()))
