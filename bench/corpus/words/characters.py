"""The kinds of characters of a text as an array, from a table instead of a look at each one.

The table is filled block by block, when a text first has a character of a block of 256.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from bench.corpus.words import patterns

if TYPE_CHECKING:
    from jaxtyping import UInt8

BLANK, MARK, LETTER = 1, 2, 4
"""Bits of a kind: white space; a combining mark or joiner; a letter, a digit or `_`."""
_BLOCK_BITS = 8


def kinds_of(text: str) -> UInt8[np.ndarray, " C"]:
    """The bits of each character."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds: UInt8[np.ndarray, " C"] = _table().look_up(codes)
    return kinds


class _Table:
    """The kinds of all characters that texts had so far."""

    def __init__(self) -> None:
        self._kinds = np.zeros(0x110000, dtype=np.uint8)
        self._is_filled = np.zeros(0x110000 >> _BLOCK_BITS, dtype=bool)

    def look_up(self, codes: np.ndarray) -> np.ndarray:
        blocks = codes >> _BLOCK_BITS
        if not self._is_filled[blocks].all():
            for block in np.unique(blocks):
                self._fill(int(block))
        kinds: np.ndarray = self._kinds[codes]
        return kinds

    def _fill(self, block: int) -> None:
        low = block << _BLOCK_BITS
        for code in range(low, low + (1 << _BLOCK_BITS)):
            character = chr(code)
            self._kinds[code] = (
                BLANK * character.isspace()
                | MARK * (patterns().mark.match(character) is not None)
                | LETTER * (character.isalnum() or character == "_")
            )
        self._is_filled[block] = True


_table = functools.cache(_Table)
