"""Label files of a user: .csv .tsv .jsonl .parquet, with every value as it was written.

Labels are text here: a reader that guesses types turns the label `NA` into a missing value, `01`
into 1 and a column with one empty cell into floats. Wrong bytes are refused and not replaced as in
a corpus, because a label may be among them.

A file without a test part is divided here. Rows that belong together (one author, one passage, or
the same text twice) stay together, so the division itself leaks nothing. A hash of the unit, not
its place, decides its part: the same rows in another order are divided in the same way.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.probing.data.datasets import read_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Bool

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
TEST_SHARE = 0.2
_FIELD_CHARACTERS = 64_000_000


@dataclass(frozen=True)
class LabelFile:
    """The argument of `--task`."""

    kind: str
    path: Path
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the task in tables and file names."""
        return self.options.get("name") or safe_name(self.path.name, self.kind)

    def argument(self) -> str:
        """The argument of `--task`, valid from any folder."""
        options = {**self.options, "name": self.name}
        pairs = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        return f"{self.kind}:{self.path.absolute()},{pairs}"


def safe_name(file_name: str, kind: str) -> str:
    """The name of a task from the name of its file: `Ünser Büro (1).csv` becomes `unser_buro_1`.

    Names with letters outside a-z and 0-9, and long names, get a hash to stay distinct.
    """
    stem = re.sub(r"\.(csv|tsv|jsonl|parquet)$", "", file_name, flags=re.IGNORECASE)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = name if name[:1].isalpha() else f"{kind}_{name}".strip("_")
    num_plain, num_original = (sum(map(str.isalnum, text)) for text in (plain, stem))
    if len(name) > 40 or num_plain < num_original:
        name = f"{name[:40]}_{hashlib.sha256(stem.encode('utf-8', 'replace')).hexdigest()[:6]}"
    return name


def find_splits(path: Path) -> dict[str, Path]:
    """The files of a path: the file itself, or a folder's train and test.

    Returns:
        `{"": path}` for a file; `{"train": ..., "test": ...}` for a folder.

    Raises:
        BenchError: No such file, another format, or a folder without both parts.
    """
    if path.is_dir():
        known = {file.name: file for file in sorted(path.iterdir()) if file.suffix in FORMATS}
        files = {}
        for part, stems in (("train", ("train",)), ("test", ("test", "validation", "dev"))):
            names = [f"{stem}{suffix}" for stem in stems for suffix in FORMATS]
            present = [known[name] for name in names if name in known]
            if not present:
                raise BenchError(
                    f"the folder {path} has no {part} part: add {part}.csv, .tsv, .jsonl or "
                    f".parquet; it has {list(known) or 'no file of these formats'}"
                )
            files[part] = present[0]
        return files
    if not path.exists():
        raise BenchError(
            f"--task: there is no file or folder {str(path)!r} (current folder: {Path.cwd()})"
        )
    if not path.is_file():
        raise BenchError(f"{path} is not a regular file (a pipe or a device?); copy it to a file")
    if path.suffix.lower() not in FORMATS:
        raise BenchError(f"{path} has an unknown format; the known formats are {' '.join(FORMATS)}")
    return {"": path}


def read_rows(path: Path) -> pd.DataFrame:
    """All rows of a file; an empty cell is None.

    Raises:
        BenchError: It is empty, damaged or not UTF-8; names the line.
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
    """A file's text, without its byte order mark."""
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
            "from its encoding, for example: iconv -f LATIN1 -t UTF-8"
        ) from None


def _cells(path: Path, delimiter: str) -> tuple[list[str], list[list[str | None]]]:
    """Header and rows of a file of separated values."""
    csv.field_size_limit(_FIELD_CHARACTERS)
    lines = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(lines, None)
        if not header:
            raise BenchError(f"{path} is empty: the first line must name the columns")
        duplicates = {name for name in header if header.count(name) > 1}
        if duplicates:
            raise BenchError(
                f"{path} has two columns with the name {min(duplicates)!r}; rename one of them"
            )
        rows: list[list[str | None]] = []
        for cells in lines:
            if not cells:  # an empty line
                continue
            if len(cells) != len(header):
                raise BenchError(
                    f"{path}, line {lines.line_num}: {len(cells)} cells, but the header has "
                    f"{len(header)} columns; put quotes around a cell that contains {delimiter!r}"
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
            raise BenchError(
                f"{path}, line {number} is not a JSON object; write each row as "
                '{"COLUMN": VALUE, ...}'
            )
        rows.append(row)
    return rows


def rows_to_test(
    units: Sequence[str], strata: Sequence[str], share: float = TEST_SHARE, seed: int = 0
) -> Bool[np.ndarray, " N"]:
    """A mask of the rows of the test part: whole units, about `share` of each stratum's rows.

    Args:
        units: The unit of each row.
        strata: The stratum of each row, equally frequent in both parts; the first row of a unit
            gives the unit's stratum. A stratum of one unit goes to train.
        share: Share of each stratum's rows.
        seed: Another seed gives another choice.
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
    target, count, chosen = share * sum(sizes[unit] for unit in members), 0.0, set()
    for unit in members:
        if count + sizes[unit] / 2 <= target:
            chosen.add(unit)
            count += sizes[unit]
    return chosen


def _hash(unit: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{unit}".encode("utf-8", "surrogatepass")).digest()
