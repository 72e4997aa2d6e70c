"""Records in an object store: `--out s3://bucket/folder`, through fsspec.

Object stores have no locks, no renames and no appending. So all work is done in a folder of this
machine, a mirror, and only what is complete is published: the files of a run first and its
`manifest.json` last, as on disk. A reader takes a run only if its manifest is there, and the
manifest's hashes are checked as for any other record.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bench.corpus.preparation import default_cache
from bench.errors import BenchError, FailedError
from bench.storage import MANIFEST, write_atomic

_URL = re.compile(r"[a-z][a-z0-9+.-]+://.+", re.IGNORECASE)
_PARTS = ("runs", "baselines", "jobs", "trials")
"""The folders of records; everything else in the store is somebody else's."""
_MARK = ".remote"
_CHANGES = ".progress.json"
"""The ending of files that change after they were published."""


def is_remote(text: str) -> bool:
    """Whether a text is the address of an object store, not a path."""
    return _URL.match(text) is not None


def mirror_of(url: str) -> Path:
    """The folder of this machine that mirrors the records of an address."""
    name = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    folder = default_cache() / "remote" / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _MARK).is_file():
        write_atomic(folder / _MARK, url.rstrip("/").encode())
    return folder


def address_of(path: Path) -> str | None:
    """The address that a mirror, or a file in it, belongs to; None for other folders."""
    absolute = path.absolute()
    for folder in (absolute, *absolute.parents):
        mark = folder / _MARK
        if folder.parent.name == "remote" and mark.is_file():
            url = mark.read_text(encoding="utf-8")
            return "/".join([url, *absolute.relative_to(folder).parts])
    return None


def shown(path: Path) -> str:
    """A folder or file as the user names it."""
    return address_of(path) or str(path)


def fetch(url: str) -> Path:
    """Bring the mirror of an address up to date, and return its folder.

    Raises:
        BenchError: A package is missing, or the store cannot be read.
    """
    mirror = mirror_of(url)
    with _store(url) as (system, root):
        known = _listing(system, root)
        complete = {str(PurePosixPath(name).parent) for name in known if _is_manifest(name)}
        for name in sorted(known, key=_is_last):
            of_run = re.match(r"((?:trials/)?runs/[^/]+)/", name)
            target = mirror / name
            if of_run and of_run[1] not in complete:
                continue
            if target.is_file() and not name.endswith(_CHANGES):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, system.cat_file(f"{root}/{name}"))
    return mirror


def publish(mirror: Path) -> int:
    """Copy what is complete in a mirror to its address, manifests last; the number of files.

    Nothing happens for a folder that is no mirror.

    Raises:
        BenchError: The store cannot be written.
    """
    url = address_of(mirror)
    if url is None:
        return 0
    count = 0
    with _store(url) as (system, root):
        known = _listing(system, root)
        for name in sorted(_complete_files(mirror), key=_is_last):
            path = mirror / name
            if known.get(name) == path.stat().st_size and not name.endswith(_CHANGES):
                continue
            system.makedirs(f"{root}/{PurePosixPath(name).parent}", exist_ok=True)
            system.pipe_file(f"{root}/{name}", path.read_bytes())
            count += 1
    return count


def _complete_files(mirror: Path) -> Iterator[str]:
    """The names of all files that may be published: no unfinished runs, no temporary files."""
    for part in _PARTS:
        for folder, folders, files in os.walk(mirror / part):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(folder).relative_to(mirror)
            is_run = inside.parent.name == "runs"
            if is_run and MANIFEST not in files:
                folders.clear()
                continue
            yield from (
                (inside / name).as_posix()
                for name in files
                if not name.startswith(".") and not name.endswith(".lock")
            )


def _is_manifest(name: str) -> bool:
    return PurePosixPath(name).name == MANIFEST


def _is_last(name: str) -> tuple[int, str]:
    """Manifests after all other files, and a score's JSON after its outcomes."""
    return (2 if _is_manifest(name) else int(name.endswith(".json")), name)


def _listing(system: Any, root: str) -> dict[str, int]:
    """Name -> size of the records in a store; names that lead elsewhere are not taken."""
    system.invalidate_cache()
    prefix = root.rstrip("/") + "/"
    sizes = {}
    for path, entry in system.find(root, detail=True).items():
        name = str(path).removeprefix(prefix)
        parts = PurePosixPath(name).parts
        if parts and parts[0] in _PARTS and ".." not in parts and "\\" not in name:
            sizes[name] = int(entry["size"])
    return sizes


@contextlib.contextmanager
def _store(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of an address, and its path there.

    Raises:
        BenchError: A package is missing, or the store cannot be reached.
    """
    try:
        import fsspec
    except ImportError:
        raise BenchError(
            f"--out {url} needs fsspec; install it: pip install 'objective-bench[remote]'"
        ) from None
    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BenchError(f"--out {url}: {error}") from None
    try:
        yield system, root.rstrip("/")
    except BenchError:
        raise
    except Exception as error:  # every store has errors of its own
        reason = str(error).strip().splitlines()
        raise FailedError(
            f"{url} could not be read or written: {type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}; the records of this machine are intact "
            f"in {mirror_of(url)}, and the same command publishes them"
        ) from error


def local_arguments(arguments: Iterable[str]) -> tuple[list[str], list[Path]]:
    """Command-line arguments with mirrors in the place of addresses, and those mirrors.

    Raises:
        BenchError: A store cannot be read.
    """
    mirrors: list[Path] = []
    replaced = []
    previous = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        text = value if option == "--out" and equals else argument
        is_out = (option == "--out" and equals) or previous == "--out"
        is_job = text.endswith(".json") and "/jobs/" in text
        previous = argument
        if not (is_remote(text) and (is_out or is_job)):
            replaced.append(argument)
            continue
        root, _, file = text.partition("/jobs/") if is_job else (text, "", "")
        mirror = fetch(root)
        mirrors.append(mirror)
        local = str(mirror / "jobs" / file) if is_job else str(mirror)
        replaced.append(f"--out={local}" if equals and not is_job else local)
    return replaced, mirrors
