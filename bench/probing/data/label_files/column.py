"""One column of a label file: its values as texts, labels, numbers or lists.

A value keeps its meaning and loses only marks that no reader sees: white space around a label, a
byte order mark, the `.0` that a float type adds to a whole number. A value that cannot be read is
refused with its row, and repairs are counted in `notes`.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.probing.data.label_files.values import (
    holds_written_lists,
    is_missing,
    items_of,
    parse_list,
    plain_label,
    trim,
)

_BYTES = re.compile(r"b(['\"]).*\1", re.DOTALL)


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column, with the facts that an error message needs."""

    path: Path
    role: str
    """The name that the kind of task has for it."""
    values: Sequence[Any]
    rows: Sequence[int]
    """The number of each value's row in the file, from 1."""
    notes: list[str]
    """Receives a sentence about each kind of repair."""

    def error(self, place: int, problem: str) -> BenchError:
        """The refusal of one value."""
        return BenchError(f"{self.path}, row {self.rows[place]}: {problem}")

    def texts(self) -> list[str]:
        """One text per row.

        Raises:
            BenchError: A missing value, a list, or bytes that are not UTF-8.
        """
        way_out = "one text is needed in each row"
        if holds_written_lists(self.values, quoted=True):
            raise self._list_error(way_out)
        return self._written(way_out)

    def labels(self, way_out: str) -> list[str]:
        """One label per row, without invisible differences between equal labels.

        Args:
            way_out: Ends the message where a value is a list of labels.

        Raises:
            BenchError: A missing value, or a list.
        """
        if holds_written_lists(self.values):
            raise self._list_error(way_out)
        written = self._written(way_out)
        labels = [plain_label(text) for text in written]
        repaired, spellings = 0, dict[str, set[str]]()
        for text, label in zip(written, labels, strict=True):
            bare = " ".join(trim(text).split())
            repaired += bare != text
            spellings.setdefault(label, set()).add(bare)
        if repaired:
            self.notes.append(
                f"{repaired} of {len(labels)} values of {self.role} had white space or invisible "
                "characters around or in them, which were removed"
            )
        for label, several in spellings.items():
            if len(several) > 1:
                names = " and ".join(repr(name) for name in sorted(several))
                self.notes.append(f"the labels {names} are one class, {label!r}")
        return labels

    def numbers(self) -> list[float]:
        """One finite number per row.

        Raises:
            BenchError: A missing value, or a value that is no finite number.
        """
        numbers = []
        for i, value in enumerate(self._written("one number is needed in each row")):
            try:
                number = float(trim(value))
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise self.error(
                    i, f"the {self.role} {value[:40]!r} is not a finite number; names of classes "
                    "are for the kinds classify and pair"
                )  # fmt: skip
            numbers.append(number)
        return numbers

    def lists(self, split: Callable[[str], list[Any]]) -> list[list[Any]]:
        """One list per row: a list, a list written as text, or a text that `split` divides.

        Raises:
            BenchError: A value that is none of these, or a damaged list among written lists.
        """
        is_written = holds_written_lists(self.values)
        lists = []
        for i, value in enumerate(self.values):
            value = _decode(value) if isinstance(value, bytes) else value
            items = items_of(value)
            if items is None and isinstance(value, str):
                items = parse_list(value) if is_written else split(value)
            if items is None:
                raise self.error(
                    i, f"{self.role} must be a list, or a string with spaces; it is "
                    f"{str(value)[:60]!r}" + " and cannot be read as a list" * is_written
                )  # fmt: skip
            lists.append([_decode(item) if isinstance(item, bytes) else item for item in items])
        return lists

    def _list_error(self, way_out: str) -> BenchError:
        """The refusal of a column of lists that are written as text."""
        place = next(i for i, value in enumerate(self.values) if holds_written_lists([value]))
        shown = str(self.values[place])[:60]
        return self.error(place, f"the {self.role} {shown!r} is a list; {way_out}")

    def _written(self, refusal: str) -> list[str]:
        """The values as they are written; bytes are decoded.

        Raises:
            BenchError: A missing value, a list or an object, or bytes that are not UTF-8.
        """
        bad = [i for i, value in enumerate(self.values) if is_missing(value)]
        if bad:
            raise BenchError(
                f"{self.path}: {len(bad)} of {len(self.values)} rows have no {self.role}, the "
                f"first is row {self.rows[bad[0]]}; remove or complete them"
            )
        is_bytes = all(isinstance(v, str) and _BYTES.fullmatch(v) for v in self.values)
        texts = []
        for i, value in enumerate(self.values):
            if items_of(value) is not None or isinstance(value, Mapping):
                shown = str(items_of(value) or value)[:60]
                raise self.error(i, f"the {self.role} {shown!r} is a list; {refusal}")
            try:
                value = ast.literal_eval(value) if is_bytes else value
                texts.append(_decode(value) if isinstance(value, bytes) else str(value))
            except (ValueError, SyntaxError):
                raise self.error(i, f"the {self.role} is bytes that are not UTF-8") from None
        if is_bytes and texts:
            self.notes.append(f"the values of {self.role} are written as b'...' and were decoded")
        return texts


def _decode(value: bytes) -> str:
    return value.decode("utf-8-sig")
