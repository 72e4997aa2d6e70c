"""Text files as a corpus: .txt .md .jsonl .csv (each also .gz) and .parquet, files or folders.

No file is read whole: text is read in pieces of a line, rows one by one and columns in small
batches, so a 50 MB line needs no more memory than a short one. Damage that occurs somewhere in
every large corpus (an invalid byte, a NUL, an empty row) is repaired or left out, and counted.
Damage that makes the whole file doubtful (a missing column, broken JSON, a gzip bomb) stops the run
with an error that names the file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.corpus.raw_files import FORMATS, list_files, open_regular, read_errors, unpack
from bench.corpus.sources import DOCUMENT_CHARACTERS, Corpus, cut_position
from bench.errors import BenchError
from bench.settings import sha256_json

ROW_BYTES = 64_000_000
"""Longer rows of a .jsonl file are left out and counted; a longer line of a .csv is an error."""

_PIECE_CHARACTERS = 1 << 16
_BATCH_BYTES = 16_000_000
_ESCAPED = re.compile("[\ud800-\udfff]")  # "surrogateescape" turns each invalid byte into one


class Files(Corpus):
    """The documents in text files.

    In .txt and .md files a document is a block between empty lines, with its lines joined by
    spaces. In the other formats it is the text column of a row.

    Args:
        paths: Files, and folders that are searched (hidden files and other formats are ignored).
        text_column: Name of the column with the text, in formats that have columns.

    Raises:
        BenchError: There is no file of a known format.
    """

    name: ClassVar[str] = "files"
    summary: ClassVar[str] = "text files: " + " ".join(FORMATS)

    def __init__(self, paths: Sequence[Path], text_column: str = "text") -> None:
        self.text_column = text_column
        self.paths = list(paths)
        self._files = [file for path in paths for file in list_files(path)]

    @property
    def display_name(self) -> str:
        """The names of up to three files, else their number."""
        names = [path.name for path in self.paths]
        return " ".join(names) if len(names) <= 3 else f"{len(names)} files"

    def fingerprint(self) -> str:
        """A sha256 of each file's relative name and bytes, and of the text column."""
        contents = []
        for name, path in self._files:
            with read_errors(path), open_regular(path) as file:
                contents.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
        return sha256_json(["files", 1, self.text_column, contents])

    def documents(self) -> Iterator[str]:
        """The documents, file by file."""
        self.skipped.clear()
        for name, path in self._files:
            plain = name.removesuffix(".gz")
            with read_errors(path), open_regular(path) as raw:
                file = unpack(raw, path) if name.endswith(".gz") else raw
                if plain.endswith(".parquet"):
                    texts = self._parquet(raw, path)
                elif plain.endswith(".jsonl"):
                    texts = self._jsonl(file, path)
                elif plain.endswith(".csv"):
                    texts = self._csv(file, path)
                else:
                    texts = self._text(file, path)
                yield from self._clean(texts)

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

    def _text(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        """Blocks between empty lines; blocks that are too long are cut at white space."""
        block, at_line_start = io.StringIO(), True
        for piece in _text_pieces(file, path):
            if at_line_start and piece.endswith("\n") and not piece.strip():
                if block.tell():
                    yield block.getvalue()
                block = io.StringIO()
                continue
            block.write(piece.replace("\n", " "))
            at_line_start = piece.endswith("\n")
            while block.tell() > DOCUMENT_CHARACTERS:
                text = block.getvalue()
                position = cut_position(text[:DOCUMENT_CHARACTERS])
                yield text[:position]
                block = io.StringIO()
                block.write(text[position:])
        if block.tell():
            yield block.getvalue()

    def _jsonl(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        for number, line in enumerate(self._rows(file), start=1):
            if not line.strip():
                self.count_skipped("blank")
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BenchError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise BenchError(
                    f"{path}, line {number} is not a JSON object, so it has no columns"
                )
            if self.text_column not in row:
                raise self._no_column(path, row)
            yield from self._if_text(row[self.text_column])

    def _rows(self, file: io.BufferedReader) -> Iterator[str]:
        """Lines up to `ROW_BYTES`; a longer one is skipped piece by piece."""
        encoding = "utf-8-sig"  # a byte order mark can only stand in the first line
        while line := file.readline(ROW_BYTES + 1):
            if len(line) > ROW_BYTES:
                self.count_skipped(f"row over {ROW_BYTES // 10**6} MB")
                while line and not line.endswith(b"\n"):
                    line = file.readline(_PIECE_CHARACTERS)
                continue
            yield line.decode(encoding, "surrogateescape")
            encoding = "utf-8"

    def _csv(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        csv.field_size_limit(ROW_BYTES)  # the module's default of 131,072 is shorter than a book
        rows = csv.reader(_whole_lines(file, path))
        try:
            header = next(rows, None)
            if header is None:
                return
            if self.text_column not in header:
                raise self._no_column(path, header)
            column = header.index(self.text_column)
            for row in rows:
                yield from self._if_text(row[column] if column < len(row) else None)
        except csv.Error as error:
            raise BenchError(f"{path}, near line {rows.line_num}: {error}") from None

    def _parquet(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(file, pre_buffer=False)
            if self.text_column not in table.schema_arrow.names:
                raise self._no_column(path, table.schema_arrow.names)
            meta = table.metadata
            total = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            batch_rows = _BATCH_BYTES * max(meta.num_rows, 1) // max(total, 1)
            for batch in table.iter_batches(
                min(max(batch_rows, 1), 1024), columns=[self.text_column], use_threads=False
            ):
                for value in batch.column(0).cast(pa.large_binary()).to_pylist():
                    is_there = value is not None
                    yield from self._if_text(
                        value.decode("utf-8", "surrogateescape") if is_there else None
                    )
        except pa.ArrowException as error:
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


def _text_pieces(file: io.BufferedReader, path: Path) -> Iterator[str]:
    """Lines with their line ends, long lines in pieces; handles any line end and a BOM."""
    if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BenchError(f"{path} is UTF-16; convert it with iconv -f UTF-16 -t UTF-8")
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=None)
    while piece := text.readline(_PIECE_CHARACTERS):
        yield piece
    text.detach()


def _whole_lines(file: io.BufferedReader, path: Path) -> Iterator[str]:
    text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    while line := text.readline(ROW_BYTES):
        if len(line) == ROW_BYTES:
            raise BenchError(f"{path} has a line of over {ROW_BYTES // 10**6} MB")
        yield line
    text.detach()
