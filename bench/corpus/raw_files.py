"""Files as bytes: which files a path names, and how they are opened and unpacked safely."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError

FORMATS = (".txt", ".md", ".jsonl", ".csv", ".parquet")

_BOMB_BYTES, _BOMB_RATIO = 100_000_000, 1000  # gzip shrinks text 3-10 times, zeros 1030 times


def list_files(path: Path) -> Iterator[tuple[str, Path]]:
    """(Relative name, path) of one file, or of all files of known formats in a folder, sorted."""
    if not path.is_dir():
        if not _is_known(path.name):
            raise BenchError(
                f"{path} is not in a known format ({' '.join(FORMATS)}, or text formats with .gz)"
            )
        yield path.name, path
        return
    files = []
    for folder, subfolders, names in os.walk(path, onerror=_cannot_read):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        files += [Path(folder, n) for n in names if not n.startswith(".") and _is_known(n)]
    if not files:
        raise BenchError(f"no text in the folder {path} (looked for {' '.join(FORMATS)})")
    yield from sorted((file.relative_to(path).as_posix(), file) for file in files)


def _is_known(name: str) -> bool:
    plain = name.removesuffix(".gz")
    return plain.endswith(FORMATS) and not name.endswith(".parquet.gz")


def _cannot_read(error: OSError) -> None:
    raise BenchError(f"{error.filename} cannot be read ({error.strerror})")


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


def unpack(packed: io.BufferedReader, path: Path) -> io.BufferedReader:
    """The contents of an opened gzip file; a gzip bomb raises `BenchError` when it is read."""
    return io.BufferedReader(_GzipContents(packed, path), 1 << 20)


class _GzipContents(io.RawIOBase):
    """The contents of a gzip file; raises once they are out of proportion to the file's size."""

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
                f"so far): a gzip bomb, or not text; unpack the file yourself if you trust it"
            )
        return length
