"""Text files as a corpus: text, code, .jsonl .json .csv .tsv (each also .gz) and .parquet.

No large file is read whole: text is read in pieces of a line, rows one by one and columns in small
batches, so a 50 MB line needs no more memory than a short one. Damage that occurs somewhere in
every large corpus (an invalid byte, a NUL, an empty row) is repaired or left out, and counted.
Damage that makes the whole file doubtful (a missing column, broken JSON, a gzip bomb) stops the run
with an error that names the file.
"""

from __future__ import annotations

import functools
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.corpus.documents import FORMATS, Unit, choose_unit, list_files
from bench.corpus.raw_files import (
    HashedFile,
    json_items,
    open_regular,
    read_errors,
    refuse_bomb,
    separated_rows,
    unpack,
)
from bench.corpus.sources import DOCUMENT_CHARACTERS, Corpus, cut_position
from bench.errors import BenchError
from bench.settings import sha256_json

ROW_BYTES = 64_000_000
"""Longer rows of a .jsonl file are left out and counted; a longer line of a .csv is an error."""

WITH_ROWS = (".jsonl", ".csv", ".tsv", ".json", ".parquet")
_PIECE_CHARACTERS = 1 << 16
_BATCH_BYTES = 16_000_000
_ESCAPED = re.compile("[\ud800-\udfff]")  # "surrogateescape" turns each invalid byte into one


class Files(Corpus):
    """The documents in text files.

    In files of text a document is a block between empty lines with its lines joined by spaces, a
    line, or a whole file of code. In the other formats it is the text column of a row.

    Args:
        paths: Files, and folders that are searched (hidden files and other formats are ignored).
        text_column: Name of the column with the text, in formats that have columns.
        documents: What one document of a text file is (see `bench.corpus.documents`).

    Raises:
        BenchError: There is no file of a known format.
    """

    name: ClassVar[str] = "files"
    summary: ClassVar[str] = "text files: " + " ".join(FORMATS) + " .tsv .json, code and others"

    def __init__(
        self, paths: Sequence[Path], text_column: str = "text", documents: str = "auto"
    ) -> None:
        self.text_column = text_column
        self.paths = list(paths)
        self._setting = documents
        self.files: list[tuple[str, Path]] = []
        self._other_endings: Counter[str] = Counter()
        self.span: tuple[int, int | None] = (0, None)
        self.digests: list[str] = []
        """The sha256 of each file's bytes, as the last complete pass read them."""
        for path in paths:
            files, others = list_files(path)
            self.files += files
            self._other_endings += others

    @property
    def display_name(self) -> str:
        """The names of up to three files, else their number."""
        names = [path.name for path in self.paths]
        return " ".join(names) if len(names) <= 3 else f"{len(names)} files"

    @property
    def note(self) -> str:
        """The unit of a document where `auto` chose it, and the files that are not read."""
        reasons = Counter(choice for choice in self.units.values() if choice[1])
        notes = [
            f"{count} file{'s' * (count > 1)}: one document a {unit.removesuffix('s')} "
            f"({reason}; --documents sets it)"
            for (unit, reason), count in sorted(reasons.items())
        ]
        if self._other_endings:
            known = ", ".join(f"{n} {ending}" for ending, n in self._other_endings.most_common(5))
            notes.append(f"not read: {known or 'files'}")
        return "; ".join(notes)

    @functools.cached_property
    def units(self) -> dict[Path, tuple[Unit, str]]:
        """The unit of a document of each file, and the reason; files with columns have rows."""
        return {
            path: ("blank-lines", "")
            if name.removesuffix(".gz").lower().endswith(WITH_ROWS)
            else choose_unit(self._setting, path)
            for name, path in self.files
        }

    def sizes(self) -> list[tuple[str, int]]:
        """The name and the number of bytes of each file."""
        return [(name, file_size(path)) for name, path in self.files]

    def fingerprint(self) -> str:
        """A sha256 of each file's relative name and bytes, of the text column and documents."""
        digests = []
        for _, path in self.files:
            with read_errors(path), open_regular(path) as file:
                digests.append(HashedFile(file).sha256())
        return self.fingerprint_of(digests)

    def fingerprint_of(self, digests: Sequence[str]) -> str:
        """The fingerprint, from the sha256 of the bytes of each file."""
        contents = []
        for (name, path), digest in zip(self.files, digests, strict=True):
            unit, _ = self.units[path]
            contents.append([name, digest] if unit == "blank-lines" else [name, digest, unit])
        return sha256_json(["files", 1, self.text_column, contents])

    def fingerprint_read(self) -> str:
        """The fingerprint of the bytes that the last complete pass has read."""
        return self.fingerprint_of(self.digests) if self.digests else self.fingerprint()

    def documents(self) -> Iterator[str]:
        """The documents, file by file; their bytes are hashed meanwhile."""
        self.skipped.clear()
        self.digests, digests = [], list[str]()
        for name, path in self.files:
            plain = name.removesuffix(".gz").lower()
            with read_errors(path), open_regular(path) as raw:
                hashed = HashedFile(raw, *self.span)
                buffered = io.BufferedReader(hashed, 1 << 18)
                file: io.BufferedReader[Any] = buffered
                if name.endswith(".gz"):
                    file = unpack(buffered, path)
                if not self.span[0] and file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise BenchError(f"{path} is UTF-16; convert it with iconv -f UTF-16 -t UTF-8")
                if plain.endswith(".parquet"):
                    hashed.sha256()  # its columns are read in another order
                    texts = self._parquet(raw, path)
                elif plain.endswith(".jsonl"):
                    texts = self._jsonl(file, path)
                elif plain.endswith(".json"):
                    texts = self._json(file, path)
                elif plain.endswith((".csv", ".tsv")):
                    texts = self._table(file, path, "," if plain.endswith(".csv") else "\t")
                else:
                    texts = self._text(file, path)
                yield from self._clean(texts)
                digests.append(hashed.sha256())
        self.digests = digests

    def _clean(self, texts: Iterator[str]) -> Iterator[str]:
        """Repair or leave out damaged text, and count it."""
        for text in texts:
            if "\0" in text:
                self.count_skipped("NUL", text.count("\0"))
                text = text.replace("\0", "")
            if not text.isascii():
                text, escaped = _ESCAPED.subn("\ufffd", text)
                self.count_skipped("invalid UTF-8 bytes", escaped)
            if text := text.strip():
                yield text
            else:
                self.count_skipped("blank")

    def _text(self, file: io.BufferedReader[Any], path: Path) -> Iterator[str]:
        """Blocks between empty lines, lines or files; too long ones are cut at white space."""
        block, at_line_start = io.StringIO(), True
        unit, _ = self.units[path]
        for piece in _text_pieces(file, is_start=not self.span[0]):
            is_end = at_line_start and piece.endswith("\n") and not piece.strip()
            if unit == "lines" and at_line_start and block.tell():
                yield block.getvalue()
                block = io.StringIO()
            if is_end and unit != "files":
                if block.tell():
                    yield block.getvalue()
                block = io.StringIO()
                continue
            block.write(piece if unit == "files" else piece.replace("\n", " "))
            at_line_start = piece.endswith("\n")
            while block.tell() > DOCUMENT_CHARACTERS:
                text = block.getvalue()
                position = cut_position(text[:DOCUMENT_CHARACTERS])
                yield text[:position]
                block = io.StringIO()
                block.write(text[position:])
        if block.tell():
            yield block.getvalue()

    def _jsonl(self, file: io.BufferedReader[Any], path: Path) -> Iterator[str]:
        for number, line in enumerate(self._rows(file), start=1):
            if not line.strip():
                self.count_skipped("blank")
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                number += _lines_before(path, self.span[0])
                raise BenchError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                number += _lines_before(path, self.span[0])
                raise BenchError(
                    f"{path}, line {number} is not a JSON object, so it has no columns"
                )
            if self.text_column not in row:
                raise self._no_column(path, row)
            yield from self._if_text(row[self.text_column])

    def _rows(self, file: io.BufferedReader[Any]) -> Iterator[str]:
        """Lines up to `ROW_BYTES`; a longer one is skipped piece by piece."""
        # A byte order mark can only stand in the first line.
        encoding = "utf-8" if self.span[0] else "utf-8-sig"
        while line := file.readline(ROW_BYTES + 1):
            if len(line) > ROW_BYTES:
                self.count_skipped(f"row over {ROW_BYTES // 10**6} MB")
                while line and not line.endswith(b"\n"):
                    line = file.readline(_PIECE_CHARACTERS)
                continue
            yield line.decode(encoding, "surrogateescape")
            encoding = "utf-8"

    def _json(self, file: io.BufferedReader[Any], path: Path) -> Iterator[str]:
        """The rows of a list, or of JSON lines; any other JSON in a folder is read as code."""
        payload = file.read(ROW_BYTES + 1)
        if len(payload) > ROW_BYTES:
            for row in json_items(payload, file, path, ROW_BYTES):
                if isinstance(row, dict) and self.text_column not in row:
                    raise self._no_column(path, row)
                yield from self._if_text(row[self.text_column] if isinstance(row, dict) else row)
            return
        content = payload.decode("utf-8-sig", "surrogateescape")
        try:
            data = json.loads(content)
        except (ValueError, RecursionError) as error:
            if content.lstrip().startswith("{") and "}\n" in content.strip():
                yield from self._jsonl(io.BufferedReader(io.BytesIO(content.encode())), path)
                return
            if path in self.paths:
                raise BenchError(f"{path} is not JSON ({error})") from None
            data = None
        rows = data if isinstance(data, list) else [data]
        is_table = bool(rows) and all(isinstance(row, dict) for row in rows)
        if is_table and (path in self.paths or all(self.text_column in row for row in rows)):
            for row in rows:
                if self.text_column not in row:
                    raise self._no_column(path, row)
                value = row[self.text_column]
                for text in value if isinstance(value, list) else [value]:
                    yield from self._if_text(text)
        elif isinstance(data, list) and all(isinstance(row, str) for row in data):
            yield from data
        else:
            yield content

    def _table(self, file: io.BufferedReader[Any], path: Path, delimiter: str) -> Iterator[str]:
        rows = separated_rows(_whole_lines(file, path), delimiter, path, ROW_BYTES)
        header = next(rows, None)
        if header is None:
            return
        if self.text_column not in header:
            raise self._no_column(path, header)
        column = header.index(self.text_column)
        for row in rows:
            yield row[column]

    def _parquet(self, file: io.BufferedReader[Any], path: Path) -> Iterator[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        num_bytes, num_packed = 0, path.stat().st_size
        try:
            table = pq.ParquetFile(file, pre_buffer=False)
            if self.text_column not in table.schema_arrow.names:
                raise self._no_column(path, table.schema_arrow.names)
            meta = table.metadata
            paths = {meta.schema.column(i).path for i in range(meta.num_columns)}
            if self.text_column in paths:  # one text in 10,000 rows stays one text in memory
                table = pq.ParquetFile(
                    file, metadata=meta, pre_buffer=False, read_dictionary=[self.text_column]
                )
            total = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            batch_rows = _BATCH_BYTES * max(meta.num_rows, 1) // max(total, 1)
            for batch in table.iter_batches(
                min(max(batch_rows, 1), 1024), columns=[self.text_column], use_threads=False
            ):
                column = batch.column(0)
                if not isinstance(column, pa.DictionaryArray):
                    column = column.cast(pa.large_binary()).dictionary_encode()
                values = column.dictionary.cast(pa.large_binary())
                pa.DictionaryArray.from_arrays(column.indices, values)  # checks the indices
                for index in column.indices.to_pylist():
                    value = None if index is None else values[index].as_py()
                    num_bytes += len(value or b"")
                    refuse_bomb(num_bytes, num_packed, path)
                    yield from self._if_text(
                        None if value is None else value.decode("utf-8", "surrogateescape")
                    )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise BenchError(
                f"{path}: column {self.text_column!r} cannot be read as text ({error})"
            ) from None

    def _if_text(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        else:
            self.count_skipped("blank" if value is None else "not text")

    def _no_column(self, path: Path, columns: Iterable[str]) -> BenchError:
        names = ", ".join(map(repr, columns))
        return BenchError(
            f"{path} has no column {self.text_column!r}; it has {names}; choose one with "
            f"--text-column"
        )


def file_size(path: Path) -> int:
    """The bytes of a file."""
    with read_errors(path):
        return path.stat().st_size


def _lines_before(path: Path, place: int) -> int:
    """The number of lines before a byte of a file, for messages."""
    with open_regular(path) as file:
        pieces = (file.read(min(1 << 20, place - low)) for low in range(0, place, 1 << 20))
        return sum(piece.count(b"\n") for piece in pieces)


def _text_pieces(file: io.BufferedReader[Any], is_start: bool) -> Iterator[str]:
    """Lines with their line ends, long lines in pieces; handles any line end and a BOM."""
    encoding = "utf-8-sig" if is_start else "utf-8"
    text = io.TextIOWrapper(file, encoding, "surrogateescape", newline=None)
    while piece := text.readline(_PIECE_CHARACTERS):
        yield piece
    text.detach()


def _whole_lines(file: io.BufferedReader[Any], path: Path) -> Iterator[str]:
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    while line := text.readline(ROW_BYTES):
        if len(line) == ROW_BYTES:
            raise BenchError(f"{path} has a line of over {ROW_BYTES // 10**6} MB")
        yield line
    text.detach()
