"""Cache of records: what a comparison needs of each run, in one file per run.

A table of 500 runs x 60 tasks depends on 60,000 files, and opening them all takes far longer than
the statistics. So checked records are stored in the cache folder. A cache file is valid as long as
every file of the run has the same size and times (including the time of the last change of the
inode, which no program can set back). A cache file that does not match, or that cannot be read or
written, is ignored: the records are read again.
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

from bench.errors import RefusedError
from bench.records.files import left_out
from bench.records.outcomes import Outcomes
from bench.records.scores import ScoreRecord, read_baselines
from bench.records.store import RunRecord, read_run, selected_folders

_FORMAT = 3
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8  # bytes of the length of the header


def read_cached_runs(
    out: Path, selection: Sequence[str], cache: Path, damaged: list[str] | None = None
) -> list[RunRecord]:
    """The same as `read_runs`, from the cache where it is valid.

    Args:
        out: The output root.
        selection: As for `read_runs`.
        cache: The cache folder.
        damaged: Receives a sentence about each damaged record, which is left out. A run that the
            selection names is not left out, but refused.

    Raises:
        BenchError: A selection that matches nothing.
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    runs = []
    named = {*selection, *(os.path.realpath(one) for one in selection)}
    for folder in selected_folders(out, selection, damaged):
        stamp = _stamp(folder, folder / "scores")
        path = _path(cache, folder)
        cached = _load(path, stamp, folder / "scores")
        if cached is None:
            own: list[str] | None = None if damaged is None else []
            try:
                run = read_run(folder, own)
            except RefusedError as error:
                is_named = folder.name in named or os.path.realpath(folder) in named
                left_out(None if is_named else damaged, error)
                continue
            scores = _with_outcomes(run.scores, own)
            if not own:
                _save(path, stamp, {"run": run.data, "not_learned": run.not_learned}, scores)
            elif damaged is not None:
                damaged += own
            runs.append(RunRecord(folder, run.data, scores, run.not_learned))
        else:
            about, scores = cached
            runs.append(RunRecord(folder, about["run"], scores, about["not_learned"]))
    return runs


def read_cached_baselines(
    out: Path, cache: Path, damaged: list[str] | None = None
) -> list[ScoreRecord]:
    """The same as `read_baselines`, from the cache where it is valid.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    folder = out / "baselines"
    stamp, path = _stamp(folder), _path(cache, folder)
    cached = _load(path, stamp, folder)
    if cached is not None:
        return cached[1]
    own: list[str] | None = None if damaged is None else []
    scores = _with_outcomes(read_baselines(out, own), own)
    if not own:
        _save(path, stamp, {}, scores)
    elif damaged is not None:
        damaged += own
    return scores


def _with_outcomes(scores: list[ScoreRecord], damaged: list[str] | None) -> list[ScoreRecord]:
    whole = []
    for score in scores:
        try:
            whole.append(dataclasses.replace(score, cached_outcomes=score.per_example()))
        except RefusedError as error:
            left_out(damaged, error)
    return whole


def _path(cache: Path, folder: Path) -> Path:
    name = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape")).hexdigest()
    return cache / "summaries" / name[:32]


def _stamp(*folders: Path) -> str | None:
    """A hash that changes with any file in the folders; None if a link could change unnoticed."""
    facts: list[Any] = [_FORMAT]
    for folder in folders:
        try:
            files = sorted(os.scandir(folder), key=lambda file: file.name)
        except OSError:
            return None
        for file in files:
            status = file.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return None
            if stat.S_ISREG(status.st_mode):
                times = status.st_mtime_ns, status.st_ctime_ns
                facts.append([file.name, status.st_size, status.st_ino, *times])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _save(path: Path, stamp: str | None, about: dict[str, Any], scores: list[ScoreRecord]) -> None:
    """Write a cache file if possible. It is not synced to disk, as a broken one is ignored."""
    if stamp is None:
        return
    arrays: list[bytes] = []
    rows = []
    for score in scores:
        known = score.cached_outcomes or Outcomes("", {})
        kinds = []
        for name, outcomes in known.by_name.items():
            counts = outcomes.astype(np.uint8)  # outcomes of 0 and 1 need an eighth of the bytes
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
    """The run and the scores of a folder; None if the cache file is missing, broken or outdated."""
    try:
        content = path.read_bytes() if stamp is not None else b""
    except OSError:
        return None
    payload = memoryview(content)[_DIGEST:]
    if hashlib.sha256(payload).digest() != content[:_DIGEST]:
        return None
    start = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    try:
        saved_stamp, about, rows = from_json(bytes(payload[_LENGTH:start]))
    except ValueError:
        return None
    if saved_stamp != stamp:
        return None
    scores = []
    for file, record, examples, kinds in rows:
        by_name = {}
        for name, kind, count in kinds:
            stored = np.frombuffer(payload, kind, count, start)
            by_name[name] = stored.astype(np.float64)
            start += stored.nbytes
        outcomes = Outcomes(examples, by_name) if examples else None
        scores.append(ScoreRecord(folder, file, record, outcomes))
    return about, scores
