"""Units that are longer than the quota of their row: they are cut, so that something is asked.

A unit (a word, a collocation) is chosen whole or not at all. In a text without spaces a "word" can
be longer than all that a row may hide: with words between spaces, `whole_word` and `span` hid 0 of
63 tokens of a DNA sequence at a rate of 15 %. Such a unit is cut to its parts, a collocation to its
words and a word to its tokens. Units that fit are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor


def cut_units(
    starts: Bool[Tensor, "B L"],
    parts: Bool[Tensor, "B L"],
    real: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
) -> Bool[Tensor, "B L"]:
    """The first token of each unit, after every unit longer than the quota was cut to its parts.

    Args:
        starts: The first token of each unit; a unit ends at the next start, or at the next token
            that is not real.
        parts: The first token of each part of a unit.
        real: The tokens that count.
        quota: The number of tokens that each row may choose.
    """
    rows, length = real.shape
    unit = (starts | ~real).long().cumsum(1)
    sizes = unit.new_zeros(rows, length + 1).scatter_add_(1, unit, real.long())
    is_long = (sizes > quota[:, None]).gather(1, unit) & (unit > 0)
    return starts | (parts & real & is_long)
