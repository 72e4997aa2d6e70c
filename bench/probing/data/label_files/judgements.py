"""Files of relevance judgements (qrels): a table with a header, or TREC's four columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.probing.data.label_files.formats import FORMATS, read_rows

if TYPE_CHECKING:
    import pandas as pd

TABLES = tuple(suffix for suffix in FORMATS if not suffix.startswith(".conll"))
"""The endings of tables with a header."""
TREC = (".txt", ".trec", ".qrels", ".qrel", "")
"""The endings of files of judgements in TREC's format, which has no header."""
TREC_COLUMNS = ("query-id", "iteration", "corpus-id", "score")
WHOLE = re.compile(r"[+-]?\d+")
"""A whole number."""


def read_judgements(path: Path, notes: list[str]) -> pd.DataFrame:
    """A table of judgements with a header, or TREC's four columns without one.

    Raises:
        BenchError: A line of TREC's format has another number of columns.
    """
    suffix = path.suffix.lower()
    if suffix not in TREC and not (suffix in (".tsv", ".csv") and _has_no_header(path)):
        return read_rows(path, notes)
    import pandas as pd

    rows = []
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != len(TREC_COLUMNS):
            raise BenchError(
                f"{path}, line {number}: {len(fields)} columns, but a line of TREC's format is "
                "QUERY 0 DOCUMENT GRADE; a table with a header must be one of "
                f"{' '.join(TABLES)}"
            )
        rows.append(fields)
    if not rows:
        raise BenchError(f"{path} has no rows")
    return pd.DataFrame(rows, columns=list(TREC_COLUMNS), dtype=object)


def _has_no_header(path: Path) -> bool:
    """Whether the first line is a judgement of TREC's format."""
    first = next((line for line in _lines(path) if line.strip()), "").split()
    return len(first) == len(TREC_COLUMNS) and WHOLE.fullmatch(first[-1]) is not None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path} is not UTF-8 (byte {error.start}); convert it, for example: iconv -f LATIN1 "
            "-t UTF-8"
        ) from None
