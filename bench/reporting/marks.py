"""The marks beside a number: how far off it may be, and whom it can be told from.

Letters are read at a glance while there are few. Sixteen objectives with two seeds came to
`abcdefghijklmnop` in one cell; where that happens, what is separably below the highest of its
column bears a `<` instead, a note says the rest in words, and JSON and CSV keep the letters. A
half-width longer than the scale itself is written `>100`: two seeds gave ±209.7 for what lies
within 0..100, which looks like a measurement and is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.reporting.phrases import decimal

MOST_LETTERS = 4
"""In one cell."""
MOST_GROUPS = 8
"""In one column."""
BELOW = "<"


def are_readable(shown: Iterable[str]) -> bool:
    """Whether the letters of a column can be taken in."""
    cells = list(shown)
    return len({*"".join(cells)}) <= MOST_GROUPS and max(map(len, cells), default=0) <= MOST_LETTERS


def width(half: float, scale_length: float, digits: int = 1) -> str:
    """A half-width, or that it is longer than the scale."""
    return decimal(half, digits) if half <= scale_length else f">{scale_length:g}"


def width_legend(texts: Iterable[str]) -> str:
    """A sentence about the `±>100` among some cells; nothing where there is none."""
    found = {mark for text in texts for mark in re.findall(r"±>[0-9]+", text)}
    shown = " and ".join(sorted(found, key=lambda mark: -int(mark[2:])))
    return f". {shown}: wider than the scale itself, so it excludes nothing" if found else ""
