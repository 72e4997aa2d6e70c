"""Schemes of span labels, and their translation to B-, I- and O.

The metric reads IOB2: B- begins a span, I- continues it. Read as IOB2, a scheme with a letter for
the end of a span (E or L) loses the last word of every span, and one with a letter for a span of
one word (S, U or W) loses the span. Therefore every known scheme is translated, and the spans are
the same before and after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Row = Sequence[str | None]

SCHEMES = {
    "IOB": frozenset("BIO"),
    "BIOES": frozenset("BIOES"),
    "BILOU": frozenset("BILOU"),
    "BMEOS": frozenset("BMEOS"),
    "BMEOW": frozenset("BMEOW"),
}
"""The letters of each scheme; the first that has all letters of a file is its scheme. IOB stands
for both of its forms, and BIOES for IOE as well."""
_BEGINS, _ENDS = "BSUW", "ELSUW"
_SPAN = re.compile(r"([BILUESMW])(?:[-_](.+))?")
_OUTSIDE = "O"
BARE = "span"
"""The type of spans whose labels name none."""


def scheme_of(rows: Iterable[Row]) -> str | None:
    """The scheme of a file's labels; None where they are no labels of spans.

    Letters without a type (`B`, `I`, `O`) count only where nothing else can be meant: with O, or as
    the four letters of word segmentation.
    """
    letters, is_bare, is_typed = set[str](), False, False
    for label in {label for row in rows for label in row if label is not None}:
        part = _SPAN.fullmatch(label)
        if label == _OUTSIDE:
            letters.add(label)
        elif part is None:
            return None
        else:
            letters.add(part[1])
            is_typed, is_bare = is_typed or part[2] is not None, is_bare or part[2] is None
    if not letters - {_OUTSIDE} or (is_typed and is_bare):
        return None
    if is_bare and _OUTSIDE not in letters and letters != set("BMES"):
        return None
    return next((name for name, known in SCHEMES.items() if letters <= known), None)


def to_iob2(row: Row) -> list[str | None]:
    """Labels of any of the schemes as B-, I- and O, with the same spans; None stays None.

    A span begins at B (or S, U, W), where the type changes, and after O or the end of a span. A
    word without a label neither begins nor ends a span.
    """
    result: list[str | None] = []
    open_kind: str | None = None
    for label in row:
        part = None if label is None else _SPAN.fullmatch(label)
        if label is None:
            result.append(None)
        elif part is None:
            result.append(_OUTSIDE)
            open_kind = None
        else:
            letter, kind = part[1], part[2] or BARE
            begins = letter in _BEGINS or kind != open_kind
            result.append(f"{'B' if begins else 'I'}-{kind}")
            open_kind = None if letter in _ENDS else kind
    return result
