"""Files that are either complete or absent: atomic writes, manifests, folders built aside.

None of the formats in use detects a flipped payload byte, and `kill -9` during a plain write leaves
an unreadable file. So everything is written under a temporary name, synced, renamed, and listed
with its sha256 in a `manifest.json` that is written last. Temporary names contain the host, the
process and its start time; locks are not used for them, because locks on a folder do not work on
network disks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import itertools
import json
import os
import shutil
import socket
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import FailedError, RefusedError

MANIFEST = "manifest.json"
_PREFIX = ".tmp-"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Error numbers of a full disk, a full quota and the limit on file sizes."""
_LOCK_SECONDS = 0.1  # interval between attempts to get a lock
_FOREIGN_SECONDS = 7 * 24 * 3600  # age of a leftover of another host, whose processes are invisible
_serial = itertools.count()
_own_locks: dict[str, threading.Lock] = {}  # by path: a lock of the system is for processes


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" (and quota, and file-size limit) into a `FailedError` with `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FailedError(
            f"disk full: {path} could not be written ({error.strerror}); files that were complete "
            f"before are intact. Free some space and repeat the command"
        ) from None


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk, so that they survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, payload: bytes) -> None:
    """Replace a file atomically: a reader, or a crash, gets the old bytes or the new, never a mix.

    Raises:
        FailedError: The disk is full; the old file is intact.
    """
    temporary = path.parent / _temporary_name()
    with disk_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Build a folder under a temporary name; it appears under its own name complete, or not at all.

    Yields a temporary sibling to write into. If `path` exists at the end (another process built the
    same content), the existing folder stays and this one is removed.

    Raises:
        FailedError: The disk is full.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / _temporary_name()
        temporary.mkdir()
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    with open(os.path.join(folder, name), "rb") as file:
                        os.fsync(file.fileno())
                sync_folder(Path(folder))
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder for intermediate results, which is removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / _temporary_name()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_leftovers(parent: Path) -> int:
    """Remove temporary files and folders in `parent` whose process is dead; return their number."""
    count = 0
    for leftover in sorted(parent.glob(f"{_PREFIX}*")):
        if not _is_leftover(leftover):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
        count += 1
    return count


@contextlib.contextmanager
def exclusive(path: Path, while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait for an advisory lock and hold it; it ends with the process.

    It avoids duplicate work, and correctness never depends on it: on a file system without locks
    every process gets the lock. A child of the process does not inherit it, so a child that a
    plugin left behind keeps nobody waiting.

    Args:
        path: The lock file; its folder is created.
        while_waiting: Called ten times a second while another process holds the lock; may raise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = _own_locks.setdefault(os.path.realpath(path), threading.Lock())
    while not own.acquire(timeout=_LOCK_SECONDS):
        while_waiting()
    try:
        with path.open("ab") as file:  # closing any file of this path would end the lock
            while not _has_lock(file):
                while_waiting()
                time.sleep(_LOCK_SECONDS)
            yield
    finally:
        own.release()


def _has_lock(file: io.BufferedWriter) -> bool:
    """Whether this process has the lock of a file now; always on a file system without locks."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file of the records: a pipe would block for ever, and a device would never end.

    Raises:
        OSError: It cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, names: Iterable[str], **facts: Any) -> dict[str, Any]:
    """Write `manifest.json`: size and sha256 of each named file, and additional facts.

    Args:
        folder: Folder of the files; call this after all of them are written.
        names: Files by their path relative to `folder`.
        facts: JSON values stored beside "files".
    """
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in sorted(names)
    }
    manifest = {"format": 2, **facts, "files": files}
    manifest["sha256"] = _own_sha256(manifest)
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; the files are not verified.

    Raises:
        RefusedError: The manifest is missing or malformed, or names a file outside the folder.
    """
    path = folder / MANIFEST
    try:
        with open_regular(path) as file:
            manifest = json.loads(file.read())
        files = {str(name): (int(f["bytes"]), str(f["sha256"]))
                 for name, f in manifest["files"].items()}  # fmt: skip
    except OSError as error:
        raise RefusedError(
            f"{path} cannot be read ({error.strerror}), so {folder} is not complete; "
            f"remove the folder and repeat the command"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RefusedError(
            f"{path} is damaged: it has no table of files; remove {folder} and repeat the command"
        ) from None
    own, expected = _own_sha256(manifest), manifest.get("sha256")
    has_none = expected is None and manifest.get("format", 1) == 1  # as in earlier versions
    if expected != own and not has_none:
        raise RefusedError(
            f"{path} was changed after it was written: sha256 expected {expected}, found "
            f"{own}; remove {folder} and repeat the command"
        )
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
            raise RefusedError(f"{path} names {name!r}, which is outside its folder")
    return dict(manifest)


def _own_sha256(manifest: dict[str, Any]) -> str:
    """The hash of a manifest, which lists the hashes of all other files."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def verify_manifest(folder: Path, hash_up_to_bytes: int | None = None) -> dict[str, Any]:
    """Check every file of a folder against its manifest, and return the manifest.

    Args:
        folder: A folder for which `write_manifest` was called.
        hash_up_to_bytes: Above this total size only sizes are compared; None: always hash.

    Raises:
        RefusedError: A file is missing or has another size or content; the message has both values.
    """
    manifest = read_manifest(folder)
    files = manifest["files"]
    is_hashed = hash_up_to_bytes is None or hash_up_to_bytes >= sum(
        facts["bytes"] for facts in files.values()
    )
    for name, facts in files.items():
        path = folder / name
        try:
            actual: Any = path.stat().st_size
            expected: Any = facts["bytes"]
            unit = "bytes"
            if actual == expected and is_hashed:
                actual, expected, unit = file_sha256(path), facts["sha256"], "sha256"
        except OSError as error:
            raise RefusedError(
                f"{path} is listed in the manifest but cannot be read ({error.strerror}); "
                f"remove {folder} and repeat the command"
            ) from None
        if actual != expected:
            raise RefusedError(
                f"{path} was changed after it was written: {unit} expected {expected}, "
                f"found {actual}; remove {folder} and repeat the command"
            )
    return manifest


def _temporary_name() -> str:
    return f"{_PREFIX}{_host()}-{os.getpid()}-{_start_time(os.getpid())}-{next(_serial)}"


@functools.cache
def _host() -> str:
    """Mark of the set of processes that this process can see.

    Two containers may have one host name and not see each other's processes, and after a restart
    the numbers of processes begin anew.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return f"{zlib.crc32(' '.join(parts).encode()):08x}"


def _start_time(pid: int) -> str:
    """Start time of a process in clock ticks; distinguishes processes with the same number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "0"
    return stat.rsplit(b")", 1)[1].split()[19].decode()


def _is_leftover(path: Path) -> bool:
    """Whether the process that made a temporary name has ended."""
    try:
        host, pid, start, _ = path.name.removeprefix(_PREFIX).split("-")
        if host != _host():
            return time.time() - path.lstat().st_mtime > _FOREIGN_SECONDS
        os.kill(int(pid), 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    except PermissionError:  # the process of another user is running
        return False
    except (ValueError, OverflowError):  # not a temporary name of bench
        return False
    return start != _start_time(int(pid))
