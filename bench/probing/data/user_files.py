"""Rows of somebody's own file: .csv .tsv .jsonl .parquet, with every value as it was written.

Labels are text here: a reader that guesses types turns the label `NA` into nothing, `01` into 1
and a column with one empty cell into floats. Wrong bytes are refused, not mended as in a corpus: a
label may be among them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.probing.data.datasets import read_parquet

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
_FIELD_CHARACTERS = 64_000_000


def find_splits(path: Path) -> dict[str, Path]:
    """The files behind a path: itself, or a folder's train and test.

    Returns:
        `{"": path}` for a file; `{"train": ..., "test": ...}` for a folder.

    Raises:
        BenchError: No such file, another format, or a folder without both parts.
    """
    if path.is_dir():
        known = {file.name: file for file in sorted(path.iterdir()) if file.suffix in FORMATS}
        found = {}
        for part, stems in (("train", ("train",)), ("test", ("test", "validation", "dev"))):
            names = [f"{stem}{suffix}" for stem in stems for suffix in FORMATS]
            there = [known[name] for name in names if name in known]
            if not there:
                raise BenchError(
                    f"the folder {path} has no {part} part: looked for {part}.csv, .tsv, .jsonl or "
                    f".parquet, found {list(known) or 'none of these formats'}"
                )
            found[part] = there[0]
        return found
    if not path.exists():
        raise BenchError(f"no file or folder {str(path)!r} (--task; seen from {Path.cwd()})")
    if not path.is_file():
        raise BenchError(f"{path} is not a regular file (a pipe or a device?); copy it to a file")
    if path.suffix.lower() not in FORMATS:
        raise BenchError(f"{path} is of no known format ({' '.join(FORMATS)})")
    return {"": path}


def read_rows(path: Path) -> pd.DataFrame:
    """All rows of a file; an empty cell is None.

    Raises:
        BenchError: It is empty, damaged or not UTF-8; says where.
    """
    import pandas as pd

    kind = path.suffix.lower()
    if kind == ".parquet":
        frame = read_parquet(path)
    elif kind == ".jsonl":
        frame = pd.DataFrame(_objects(path), dtype=object)
    else:
        header, rows = _cells(path, "\t" if kind == ".tsv" else ",")
        frame = pd.DataFrame(rows, columns=header, dtype=object)
    if not len(frame):
        raise BenchError(f"{path} has no rows")
    return frame


def _text(path: Path) -> str:
    """A file's text, its byte order mark dropped."""
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror})") from None
    if payload[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BenchError(f"{path} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = payload.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"{path}, line {line}: byte {payload[error.start]:#04x} is not UTF-8; convert the file "
            "from what it is: iconv -f LATIN1 -t UTF-8"
        ) from None


def _cells(path: Path, delimiter: str) -> tuple[list[str], list[list[str | None]]]:
    """Header and rows of a table of separated values."""
    csv.field_size_limit(_FIELD_CHARACTERS)
    lines = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(lines, None)
        if not header:
            raise BenchError(f"{path} is empty: the first line must name the columns")
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise BenchError(f"{path} names the column {min(twice)!r} twice")
        rows: list[list[str | None]] = []
        for cells in lines:
            if not cells:  # an empty line
                continue
            if len(cells) != len(header):
                raise BenchError(
                    f"{path}, line {lines.line_num}: {len(cells)} cells, but the header names "
                    f"{len(header)} columns; quote a cell that holds {delimiter!r}"
                )
            rows.append([cell or None for cell in cells])
    except csv.Error as error:
        raise BenchError(f"{path}, near line {lines.line_num}: {error}") from None
    return header, rows


def _objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    rows = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BenchError(f"{path}, line {number} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise BenchError(f"{path}, line {number} is no JSON object, so it has no columns")
        rows.append(row)
    return rows
