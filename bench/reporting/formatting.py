"""Spelling of numbers and names, the same in all output formats."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MOST_LETTERS = 4
"""Letters in one cell that are readable."""
MOST_GROUPS = 8
"""Different letters in one column that are readable."""
BELOW = "<"
"""Mark of a score that is significantly below the highest of its column."""


def quoted(name: str) -> str:
    """The name, in quotes if it contains a comma and has no quotes yet."""
    return f'"{name}"' if ", " in name and not name.startswith('"') else name


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names as in a sentence, `a, b and c`; after `most` names, the number of the others."""
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
    """A number with some decimal places, the same in every format and on every processor.

    The last bits, which differ between processors, are removed before rounding. Zero is never
    negative.
    """
    return f"{float(f'{value:.9g}'):{sign}z.{places}f}"


def big_number(value: float) -> str:
    """A count in short: 999, 300k, 2.0M, 1.4G."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.1f}{unit}" if abs(scaled) < 99.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def printable(text: str) -> str:
    """The text without control characters, escape codes and direction overrides.

    Names may come from other people.
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def csv_value(value: Any) -> Any:
    """A value that is safe in a spreadsheet: no formula, no control character."""
    if isinstance(value, bool | dict | list):
        value = json.dumps(value, sort_keys=True)
    if isinstance(value, str):
        value = printable(value)
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    return value


def are_readable(shown: Iterable[str]) -> bool:
    """Whether the letters of a column are few enough to be read."""
    cells = list(shown)
    return len({*"".join(cells)}) <= MOST_GROUPS and max(map(len, cells), default=0) <= MOST_LETTERS


def width(half: float, scale_length: float, digits: int = 1) -> str:
    """A half-width; `>100` if it is longer than the scale."""
    return decimal(half, digits) if half <= scale_length else f">{scale_length:g}"


def width_legend(texts: Iterable[str]) -> str:
    """A sentence that explains the `±>100` in some cells; empty if there is none."""
    marks = {mark for text in texts for mark in re.findall(r"±>[0-9]+", text)}
    shown = " and ".join(sorted(marks, key=lambda mark: -int(mark[2:])))
    return f". {shown}: wider than the scale, so the interval excludes nothing" if marks else ""


def duration(seconds: float) -> str:
    """A time in the unit that a person would choose."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 90:
        return f"{max(seconds, 1):.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
