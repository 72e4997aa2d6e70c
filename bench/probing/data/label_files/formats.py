"""The formats of label files: .csv .tsv .jsonl .json .parquet .conllu .conll.

Cells are text here: a reader that guesses types turns the label `NA` into a missing value, `01`
into 1 and a column with one empty cell into floats. Wrong bytes are refused and not replaced as in
a corpus, because a label may be among them. A .tsv file has no quoting, as in published ones: a
reader with quoting joins all lines between two stray quotation marks into one row. A .csv file has
quoting, and a row with another number of cells than the header is refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus.raw_files import open_regular, read_errors, separated_rows
from bench.errors import BenchError
from bench.probing.data.datasets import read_parquet
from bench.probing.data.label_files.sentences import read_conll, read_conllu
from bench.probing.data.label_files.values import replace_surrogates, trim

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".conllu", ".conll")
_CELL_CHARACTERS = 64_000_000
MOST_BYTES = 1_000_000_000
"""Label files are in memory as a whole; a larger text file is refused before it is read."""


def read_rows(path: Path, notes: list[str]) -> pd.DataFrame:
    """All rows of a file; an empty cell is None.

    Args:
        path: A file of one of the formats.
        notes: Receives a sentence about each kind of repair.

    Raises:
        BenchError: It is empty, damaged or not UTF-8; names the line.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix == ".parquet":
        frame = read_parquet(path)
    elif suffix in (".csv", ".tsv"):
        frame = _table(path, ("\t" if suffix == ".tsv" else ","), notes)
    elif suffix in (".conllu", ".conll"):
        read = read_conllu if suffix == ".conllu" else read_conll
        frame = pd.DataFrame(read(path, _text(path), notes), dtype=object)
    else:
        objects = _json_lines if suffix == ".jsonl" else _json_document
        frame = pd.DataFrame(_repaired(objects(path, _text(path)), path, notes), dtype=object)
    if not len(frame):
        raise BenchError(f"{path} has no rows")
    names = [trim(str(name)) for name in frame.columns]
    duplicates = {name for name in names if names.count(name) > 1}
    if duplicates:
        raise BenchError(
            f"{path} has two columns with the name {min(duplicates)!r}; rename one of them"
        )
    return frame.set_axis(names, axis=1)


def _text(path: Path) -> str:
    """A file's text, without its byte order mark."""
    with read_errors(path), open_regular(path) as file:
        payload = file.read(MOST_BYTES + 1)
    if len(payload) > MOST_BYTES:
        raise BenchError(
            f"{path} is larger than {MOST_BYTES // 10**6} MB, the limit of a label file of text; "
            "save it as .parquet, or take fewer rows"
        )
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


def _table(path: Path, delimiter: str, notes: list[str]) -> pd.DataFrame:
    """A file of separated values."""
    import pandas as pd

    lines = io.StringIO(_text(path), newline="")
    rows = separated_rows(lines, delimiter, path, _CELL_CHARACTERS)
    header = next(rows, None)
    if not header:
        raise BenchError(f"{path} is empty: the first line must name the columns")
    cells = [[cell or None for cell in row] for row in rows]
    if delimiter == "\t":
        quoted = sum(
            cell is not None and len(cell) > 1 and cell[0] == cell[-1] == '"'
            for row in cells
            for cell in row
        )
        if quoted:
            notes.append(
                f'{path.name}: {quoted} cells begin and end with a quotation mark ("), which is '
                "part of the cell in a .tsv file; save the file as .csv if it is not"
            )
    return pd.DataFrame(cells, columns=header, dtype=object)


def _json_lines(path: Path, text: str) -> Iterable[tuple[int, Any]]:
    """(Line, object) of a file of JSON lines."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BenchError(f"{path}, line {number} is not JSON ({error})") from None


def _json_document(path: Path, text: str) -> Iterable[tuple[int, Any]]:
    """(Number, object) of a JSON list, of a `data` list, of SQuAD's file, or of JSON lines."""
    try:
        parsed = json.loads(text)
    except RecursionError:
        raise BenchError(f"{path} is not JSON (it is nested too deeply)") from None
    except ValueError as error:
        if "Extra data" in str(error):
            return _json_lines(path, text)
        raise BenchError(f"{path} is not JSON ({error})") from None
    rows = parsed.get("data") if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list):
        raise BenchError(
            f"{path} is neither a JSON list of objects nor an object with such a list as 'data'"
        )
    if rows and isinstance(rows[0], dict) and "paragraphs" in rows[0]:
        rows = _squad_questions(path, rows)
    return enumerate(rows, start=1)


def _squad_questions(path: Path, articles: list[Any]) -> list[Any]:
    """The questions of SQuAD's articles, each with its context."""
    try:
        return [
            {**question, "context": paragraph["context"]}
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise BenchError(
            f"{path} has articles with paragraphs as SQuAD's files, but not all of them have a "
            f"context and questions ({error})"
        ) from None


def _repaired(
    objects: Iterable[tuple[int, Any]], path: Path, notes: list[str]
) -> list[dict[str, Any]]:
    """The objects, with U+FFFD for each half of a surrogate pair."""
    rows: list[dict[str, Any]] = []
    halves = first = 0
    for number, row in objects:
        if not isinstance(row, dict):
            raise BenchError(
                f"{path}, line {number} is not a JSON object; write each row as "
                '{"COLUMN": VALUE, ...}'
            )
        row, count = replace_surrogates(row)
        first = first or (len(rows) + 1 if count else 0)
        halves += count
        rows.append(row)
    if halves:
        notes.append(
            f"{path.name}: halves of surrogate pairs were replaced by U+FFFD: {halves}, the first "
            f"in row {first}"
        )
    return rows
