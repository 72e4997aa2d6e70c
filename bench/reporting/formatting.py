"""How numbers and names are said, alike in all formats."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any


def quoted(name: str) -> str:
    """The name so that a comma in it divides nothing; as it is where it has quotes already."""
    return f'"{name}"' if ", " in name and not name.startswith('"') else name


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names as a sentence has them, the rest counted; `causal, bidirectional` is one name."""
    shown = [quoted(name) for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def plain(value: float | None) -> float | int | None:
    """A JSON number without the last bits, which differ between processors."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.9g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) >= 2 else rounded


def decimal(value: float, places: int = 1, sign: str = "") -> str:
    """A figure to some places, alike in every format and on every processor.

    The last bits, which differ between processors, are cut off before a half is rounded; zero is
    never negative.
    """
    return f"{float(f'{value:.9g}'):{sign}z.{places}f}"


def big_number(value: float) -> str:
    """A count as a person says it: 999, 300k, 2.0M, 1.4G."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if abs(scaled) < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def printable(text: str) -> str:
    """Names come from strangers: no control character, escape code or direction override."""
    return "".join(char if char.isprintable() else "?" for char in text)


def csv_value(value: Any) -> Any:
    """A value as a spreadsheet may have it: no formula, no control character."""
    if isinstance(value, bool | dict | list):
        value = json.dumps(value, sort_keys=True)
    if isinstance(value, str):
        value = printable(value)
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    return value


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
