"""Text files as a corpus: .txt .md .jsonl .csv (each also .gz) and .parquet, files or folders.

Nothing is ever read whole: text by pieces of a line, rows one by one, columns by small batches, so
a 50 MB line costs no more memory than a short one. Damage that a large corpus always has somewhere
(a wrong byte, a NUL, an empty row) is mended or left out, and counted; what makes a file as a whole
doubtful (no such column, broken JSON, a gzip bomb) stops the run with the file's name.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.corpus.sources import DOCUMENT_CHARACTERS, Corpus, cut_place
from bench.errors import BenchError
from bench.settings import canonical_json

FORMATS = (".txt", ".md", ".jsonl", ".csv", ".parquet")
ROW_BYTES = 64_000_000
"""A longer row of a .jsonl is left out and counted; a longer line of a .csv is an error."""

_PIECE_CHARACTERS = 1 << 16
_BATCH_BYTES = 16_000_000
_BOMB_BYTES, _BOMB_RATIO = 100_000_000, 1000  # text shrinks 3-10 times, zeros 1030 times
_ESCAPED = re.compile("[\ud800-\udfff]")  # "surrogateescape" leaves each wrong byte as one


class Files(Corpus):
    """Documents of some files.

    In .txt and .md a document is a block between empty lines, its lines joined by spaces; in the
    others it is the text column of a row.

    Args:
        paths: Files, and folders searched through (hidden files and other formats passed over).
        text_column: Where the text is, in formats with columns.

    Raises:
        BenchError: No file of a known format.
    """

    name: ClassVar[str] = "files"
    summary: ClassVar[str] = "text files: " + " ".join(FORMATS)

    def __init__(self, paths: Sequence[Path], text_column: str = "text") -> None:
        self.text_column = text_column
        self.paths = list(paths)
        self._files = [found for path in paths for found in _find(path)]

    @property
    def display_name(self) -> str:
        """The files' names, or how many there are."""
        names = [path.name for path in self.paths]
        return " ".join(names) if len(names) <= 3 else f"{len(names)} files"

    def fingerprint(self) -> str:
        """Of each file's name (as seen from its folder) and bytes, and of the text column."""
        contents = []
        for name, path in self._files:
            with _reading(path), _open(path) as file:
                contents.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
        described = canonical_json(["files", 1, self.text_column, contents])
        return hashlib.sha256(described.encode()).hexdigest()

    def documents(self) -> Iterator[str]:
        """The documents, file by file."""
        self.skipped.clear()
        for name, path in self._files:
            plain = name.removesuffix(".gz")
            with _reading(path), _open(path) as raw:
                file = _unpack(raw, path) if name.endswith(".gz") else raw
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
        """Mend or leave out, and count, what no tokenizer should see."""
        for text in texts:
            if "\0" in text:
                self.count("NUL", text.count("\0"))
                text = text.replace("\0", "")
            if not text.isascii():
                text, escaped = _ESCAPED.subn("\ufffd", text)
                self.count("invalid UTF-8 bytes", escaped)
            if text := text.strip():
                yield text
            else:
                self.count("blank")

    def _text(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        """Blocks between empty lines; one that grows too long is cut at white space."""
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
                place = cut_place(text[:DOCUMENT_CHARACTERS])
                yield text[:place]
                block = io.StringIO()
                block.write(text[place:])
        if block.tell():
            yield block.getvalue()

    def _jsonl(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        for number, line in enumerate(self._rows(file), start=1):
            if not line.strip():
                self.count("blank")
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BenchError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise BenchError(f"{path}, line {number} is no JSON object, so it has no columns")
            if self.text_column not in row:
                raise self._no_column(path, row)
            yield from self._if_text(row[self.text_column])

    def _rows(self, file: io.BufferedReader) -> Iterator[str]:
        """Lines; overlong ones are passed over piece by piece."""
        encoding = "utf-8-sig"  # a byte order mark can only stand in the first line
        while line := file.readline(ROW_BYTES + 1):
            if len(line) > ROW_BYTES:
                self.count(f"row over {ROW_BYTES // 10**6} MB")
                while line and not line.endswith(b"\n"):
                    line = file.readline(_PIECE_CHARACTERS)
                continue
            yield line.decode(encoding, "surrogateescape")
            encoding = "utf-8"

    def _csv(self, file: io.BufferedReader, path: Path) -> Iterator[str]:
        csv.field_size_limit(ROW_BYTES)  # the module's own 131,072 is less than a book
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
            self.count("blank" if value is None else "not text")

    def _no_column(self, path: Path, columns: Any) -> BenchError:
        there = ", ".join(map(repr, columns))
        return BenchError(
            f"{path} has no column {self.text_column!r}, but {there} (--text-column chooses)"
        )


class _Guarded(io.RawIOBase):
    """The contents of a gzip file, as long as they stand in some proportion to it."""

    def __init__(self, packed: io.BufferedReader, path: Path) -> None:
        self._packed, self._path, self._size = packed, path, 0
        self._unpacked = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = self._unpacked.readinto(buffer)
        self._size += length
        if self._size > max(_BOMB_BYTES, _BOMB_RATIO * self._packed.tell()):
            raise BenchError(
                f"{self._path} unpacks to over {_BOMB_RATIO} times its size ({self._size:,} bytes "
                f"so far): a gzip bomb, or no text; unpack it yourself if it is meant so"
            )
        return length


def _find(path: Path) -> Iterator[tuple[str, Path]]:
    """(Name as seen from the folder, path) of a file, or of all there are in a folder, sorted."""
    if not path.is_dir():
        if not _is_known(path.name):
            raise BenchError(f"{path} is of no known format ({' '.join(FORMATS)}, .gz of text)")
        yield path.name, path
        return
    found = []
    for folder, subfolders, names in os.walk(path, onerror=_cannot_read):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, n) for n in names if not n.startswith(".") and _is_known(n)]
    if not found:
        raise BenchError(f"no text in the folder {path} (looked for {' '.join(FORMATS)})")
    yield from sorted((file.relative_to(path).as_posix(), file) for file in found)


def _is_known(name: str) -> bool:
    plain = name.removesuffix(".gz")
    return plain.endswith(FORMATS) and not name.endswith(".parquet.gz")


def _cannot_read(error: OSError) -> None:
    raise BenchError(f"{error.filename} cannot be read ({error.strerror})")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What the system and the unpacker say of a file, as one clear error."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BenchError(f"{path} is a damaged gzip file ({error})") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror or error})") from None


def _open(path: Path) -> io.BufferedReader:
    """Open a regular file; anything else is refused without waiting (a FIFO would wait forever)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BenchError(f"{path} is not a regular file (a pipe or a device?); copy it to a file")
    return os.fdopen(descriptor, "rb")


def _unpack(packed: io.BufferedReader, path: Path) -> io.BufferedReader:
    return io.BufferedReader(_Guarded(packed, path), 1 << 20)


def _text_pieces(file: io.BufferedReader, path: Path) -> Iterator[str]:
    """Lines with their line ends, long ones in pieces; any line end, with or without BOM."""
    if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BenchError(f"{path} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
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
