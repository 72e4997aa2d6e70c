"""Records read once and kept: what a comparison needs of each run, in one file of the cache.

A table of 500 runs x 60 tasks rests on 60,000 files; opening them all takes far longer than the
statistics. So what was read and checked is kept in the cache folder, a file a run, and holds as
long as every file of the run has the size and the times it had (the time of the last change of the
inode, too, which no program can set back). A summary that does not fit, or cannot be read or
written, is as good as none: the records are the truth and are read again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from bench.records.outcomes import Outcomes
from bench.records.store import (
    RunRecord,
    ScoreRecord,
    read_baselines,
    read_run,
    selected_folders,
)

_FORMAT = 2
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8  # bytes that say how long the header is


def read_cached_runs(out: Path, selection: Sequence[str], cache: Path) -> list[RunRecord]:
    """As `read_runs`, from summaries where they hold.

    Raises:
        BenchError: A selection that matches nothing.
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    found = []
    for folder in selected_folders(out, selection):
        stamp = _stamp(folder, folder / "scores")
        path = _path(cache, folder)
        kept = _load(path, stamp, folder / "scores")
        if kept is None:
            run = read_run(folder)
            scores = [_filled(score) for score in run.scores]
            _save(path, stamp, {"run": run.data, "collapse": run.collapse}, scores)
            found.append(RunRecord(folder, run.data, scores, run.collapse))
        else:
            about, scores = kept
            found.append(RunRecord(folder, about["run"], scores, about["collapse"]))
    return found


def read_cached_baselines(out: Path, cache: Path) -> list[ScoreRecord]:
    """As `read_baselines`, from a summary where it holds.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    folder = out / "baselines"
    stamp, path = _stamp(folder), _path(cache, folder)
    kept = _load(path, stamp, folder)
    if kept is not None:
        return kept[1]
    scores = [_filled(score) for score in read_baselines(out)]
    _save(path, stamp, {}, scores)
    return scores


def _filled(score: ScoreRecord) -> ScoreRecord:
    return dataclasses.replace(score, summary=score.per_example())


def _path(cache: Path, folder: Path) -> Path:
    name = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape")).hexdigest()
    return cache / "summaries" / name[:32]


def _stamp(*folders: Path) -> str | None:
    """What changes with any file in the folders; None where a link could change unseen."""
    found: list[Any] = [_FORMAT]
    for folder in folders:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return None
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return None
            if stat.S_ISREG(status.st_mode):
                times = status.st_mtime_ns, status.st_ctime_ns
                found.append([entry.name, status.st_size, status.st_ino, *times])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _save(path: Path, stamp: str | None, about: dict[str, Any], scores: list[ScoreRecord]) -> None:
    """Keep a summary, if it can be kept; it needs no sync, as a broken one is read as none."""
    if stamp is None:
        return
    arrays: list[bytes] = []
    rows = []
    for score in scores:
        known = score.summary or Outcomes("", {})
        kinds = []
        for name, outcomes in known.by_name.items():
            counts = outcomes.astype(np.uint8)  # right or wrong: an eighth of the bytes
            stored = counts if (counts == outcomes).all() else outcomes.astype("<f8")
            kinds.append([name, stored.dtype.str, len(stored)])
            arrays.append(stored.tobytes())
        rows.append([score.file, score.data, known.examples, kinds])
    header = json.dumps([stamp, about, rows]).encode()
    payload = len(header).to_bytes(_LENGTH, "little") + header + b"".join(arrays)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, path)


def _load(
    path: Path, stamp: str | None, folder: Path
) -> tuple[dict[str, Any], list[ScoreRecord]] | None:
    """What was kept of the scores in a folder, if it holds."""
    try:
        content = path.read_bytes() if stamp is not None else b""
    except OSError:
        return None
    payload = memoryview(content)[_DIGEST:]
    if hashlib.sha256(payload).digest() != content[:_DIGEST]:
        return None
    start = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    found, about, rows = from_json(bytes(payload[_LENGTH:start]))
    if found != stamp:
        return None
    scores = []
    for file, record, examples, kinds in rows:
        by_name = {}
        for name, kind, count in kinds:
            stored = np.frombuffer(payload, kind, count, start)
            by_name[name] = stored.astype(np.float64)
            start += stored.nbytes
        summary = Outcomes(examples, by_name) if examples else None
        scores.append(ScoreRecord(folder, file, record, summary))
    return about, scores
