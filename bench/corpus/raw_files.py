"""Files as bytes: how they are opened and unpacked safely, and how tables are read strictly."""

from __future__ import annotations

import codecs
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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError

_NEXT_ITEM = re.compile(r"[\s,]*")
_BOMB_BYTES, _BOMB_RATIO = 100_000_000, 1000  # gzip shrinks text 3-10 times, zeros 1030 times


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system and of gzip into one `BenchError` that names the file."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BenchError(f"{path} is a damaged gzip file ({error})") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror or error})") from None


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file; refuse anything else at once (opening a FIFO would block forever)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BenchError(f"{path} is not a regular file (a pipe or a device?); copy it to a file")
    return os.fdopen(descriptor, "rb")


def separated_rows(
    lines: Iterable[str], delimiter: str, path: Path, longest_cell: int
) -> Iterator[list[str]]:
    """The header and the rows of a .csv file, or of a .tsv file, which has no quoting.

    Args:
        lines: Its lines with their line ends.
        delimiter: The character between cells; a tab stands for a .tsv file.
        path: For messages.
        longest_cell: The number of characters that a cell may have.

    Raises:
        BenchError: A row with another number of cells than the header, which would lose text; an
            unclosed quotation mark.
    """
    is_plain = delimiter == "\t"
    csv.field_size_limit(longest_cell)  # the module's default of 131,072 is shorter than a book
    rows = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if is_plain else csv.QUOTE_MINIMAL,
        strict=True,
    )
    way_out = (
        "a cell of a .tsv file cannot contain a tab or a line end; save the file as .csv"
        if is_plain
        else f"put quotation marks around a cell that contains {delimiter!r}"
    )
    width = 0
    try:
        for row in rows:
            if not row:  # an empty line
                continue
            width = width or len(row)
            if len(row) != width:
                raise BenchError(
                    f"{path}, line {rows.line_num}: {len(row)} cells, but the header has {width} "
                    f"columns; {way_out}"
                )
            yield row
    except csv.Error as error:
        raise BenchError(f"{path}, near line {rows.line_num}: {error}") from None


def unpack(packed: io.BufferedReader[Any], path: Path) -> io.BufferedReader:
    """The contents of an opened gzip file; a gzip bomb raises `BenchError` when it is read."""
    return io.BufferedReader(_GzipContents(packed, path), 1 << 20)


def refuse_bomb(num_bytes: int, num_packed: int, path: Path) -> None:
    """Refuse a file whose contents are out of proportion to its size.

    Args:
        num_bytes: Bytes that were unpacked so far.
        num_packed: Bytes of the file that they came from.
        path: For the message.

    Raises:
        BenchError: They are over 100 MB and over 1,000 times the bytes of the file.
    """
    if num_bytes > max(_BOMB_BYTES, _BOMB_RATIO * num_packed):
        kind = "parquet" if path.name.lower().endswith(".parquet") else "gzip"
        raise BenchError(
            f"{path} unpacks to over {_BOMB_RATIO} times its size ({num_bytes:,} bytes "
            f"so far): a {kind} bomb, or not text; unpack the file yourself if you trust it"
        )


def json_items(
    start: bytes, rest: io.BufferedReader[Any], path: Path, longest: int
) -> Iterator[Any]:
    """The items of a large JSON list, one after the other.

    Args:
        start: The beginning of the file.
        rest: What follows it.
        path: For messages.
        longest: The number of characters that an item may have.

    Raises:
        BenchError: It is no list, is damaged, or has a longer item.
    """
    decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    text = utf8.decode(start)
    place = _NEXT_ITEM.match(text).end()  # type: ignore[union-attr]  # it matches any text
    if text[place : place + 1] != "[":
        raise BenchError(
            f"{path} has over {len(start) // 10**6} MB and is no JSON list; write one object on "
            "each line and call it .jsonl"
        )
    place += 1
    while True:
        place = _NEXT_ITEM.match(text, place).end()  # type: ignore[union-attr]
        if text[place : place + 1] == "]":
            return
        try:
            item, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            more = rest.read(len(start) // 4)
            if not more or len(text) - place > longest:
                raise BenchError(
                    f"{path} is not JSON, or has an item of over {longest // 10**6} MB ({error})"
                ) from None
            text, place = text[place:] + utf8.decode(more), 0
            continue
        yield item


class HashedFile(io.RawIOBase):
    """The bytes [low, high) of an opened file, which are hashed while they are read.

    Args:
        file: The file.
        low: The first byte.
        high: The byte after the last one; None: to the end.
    """

    def __init__(self, file: io.BufferedReader[Any], low: int = 0, high: int | None = None) -> None:
        file.seek(low)
        self._file, self._position, self._high = file, low, high
        self._hash = hashlib.sha256()
        self._digest = ""

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._high is not None:
            view = view[: self._high - self._position]
        length = self._file.readinto(view)
        self._hash.update(view[:length])
        self._position += length
        return length

    def sha256(self) -> str:
        """Read the rest, and return the sha256 of all bytes; later reads of the file are others."""
        if not self._digest:
            buffer = bytearray(1 << 18)
            while self.readinto(buffer):
                pass
            self._digest = self._hash.hexdigest()
        return self._digest


class _GzipContents(io.RawIOBase):
    """The contents of a gzip file; raises once they are out of proportion to the file's size."""

    def __init__(self, packed: io.BufferedReader[Any], path: Path) -> None:
        self._packed, self._path, self._size = packed, path, 0
        self._unpacked = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = self._unpacked.readinto(buffer)
        self._size += length
        refuse_bomb(self._size, self._packed.tell(), self._path)
        return length
