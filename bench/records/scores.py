"""Scores on disk: of a run, or of a baseline that needs no encoder.

A score is a pair of files: `<name>.json`, and `<name>.parquet` with the per-example outcomes. The
outcomes are written first and the score last, each atomically. Therefore a score that can be read
has its outcomes. A file whose name is not exactly that of a score is ignored.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.errors import BenchError, RefusedError
from bench.records.files import (
    check_sha256,
    first_fault,
    left_out,
    parse_record,
    read_bytes,
    refuse_outside,
)
from bench.records.outcomes import Outcomes, read_outcomes
from bench.records.schema import NAME, Score
from bench.settings import canonical_json, sha256_json
from bench.storage import write_atomic

if TYPE_CHECKING:
    import pandas as pd

_SCORE_FILE = re.compile(rf"(?:{NAME}-)?{NAME}-[0-9a-f]{{8}}\.json")
_KEY_PARTS = ("task", "data_sha256", "probe_settings", "task_code_sha256", "attention")
_PROBES: dict[str, str] = {}  # cache: 30,000 scores share a few probe settings

Variant = tuple[str, str, str, str]
"""Task, data sha256, probe settings, task code sha256: scores are comparable if these are equal."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreRecord:
    """A score on disk."""

    folder: Path
    file: str
    data: dict[str, Any]
    """The keys of the score format, checked."""
    cached_outcomes: Outcomes | None = None
    """The outcomes, if the cache holds them (see `bench.records.cache`)."""

    @property
    def path(self) -> Path:
        """Path of the file, built lazily: most of 30,000 paths are never used."""
        return self.folder / self.file

    @functools.cached_property
    def variant(self) -> Variant:
        """Task, data, probe and task code of the score."""
        data, probe = self.data, repr(self.data["probe_settings"])
        if probe not in _PROBES:
            _PROBES[probe] = canonical_json(data["probe_settings"])
        return data["task"], data["data_sha256"], _PROBES[probe], data["task_code_sha256"]

    def outcomes(self) -> pd.DataFrame | None:
        """One row per test example; None if the score has no outcomes.

        Raises:
            RefusedError: The outcomes are missing, or are not those the score was computed from.
        """
        payload = self.payload()
        if payload is None:
            return None
        import pandas as pd

        return pd.read_parquet(io.BytesIO(payload))

    def per_example(self) -> Outcomes | None:
        """The outcomes as arrays; None if there are none, or if they name no examples.

        Raises:
            RefusedError: The outcomes are missing, or are not those the score was computed from.
        """
        payload = self.payload() if self.cached_outcomes is None else None
        if payload is None:
            return self.cached_outcomes
        return read_outcomes(payload, self.path.with_suffix(".parquet"))

    def payload(self) -> bytes | None:
        """The bytes of the file of outcomes; None if there are none.

        Raises:
            RefusedError: The outcomes are missing, or are not those the score was computed from.
        """
        if self.data.get("outcomes_sha256") is None:
            return None
        path = self.path.with_suffix(".parquet")
        payload = read_bytes(path, self.folder)
        check_sha256(path, payload, self.data["outcomes_sha256"])
        return payload


def score_key(
    task: str,
    data_sha256: str,
    probe: Mapping[str, Any],
    task_code_sha256: str,
    attention: str = "native",
) -> str:
    """Eight hexadecimal digits that change with everything that could change the score."""
    return sha256_json([task, data_sha256, dict(probe), task_code_sha256, attention])[:8]


def score_path(folder: Path, task: str, key: str, baseline: str | None = None) -> Path:
    """Path of a score. The score is done if and only if this file exists.

    Args:
        folder: The run's folder; for a baseline, the output root.
        task: The task's name.
        key: From `score_key`.
        baseline: The baseline's name, or None for a run's score.

    Raises:
        BenchError: A name that cannot be a file name, or that leads to another folder.
    """
    for kind, name in (("task", task), ("baseline", baseline)):
        if name is not None and re.fullmatch(NAME, name) is None:
            raise BenchError(
                f"{kind} name {name!r} cannot be a file name: write a-z, 0-9 and _, a letter "
                "first, 64 characters at most"
            )
    if re.fullmatch(r"[0-9a-f]{8}", key) is None:
        raise BenchError(f"score key {key!r} is not eight hexadecimal digits (see score_key)")
    if baseline is None:
        return folder / "scores" / f"{task}-{key}.json"
    return folder / "baselines" / f"{baseline}-{task}-{key}.json"


def write_score(folder: Path, record: Mapping[str, Any], outcomes: pd.DataFrame | None) -> Path:
    """Write a score and its per-example outcomes; return the path of the score.

    Args:
        folder: The run's folder; for a baseline, the output root.
        record: The keys of the score format.
        outcomes: One row per test example; None if the task does not apply.

    Raises:
        BenchError: The record is malformed; the message names the key.
        FailedError: The disk is full; existing files are intact.
        RefusedError: The folder of scores is a link that leads elsewhere.
    """
    name = f"the score of task {record.get('task')!r}"
    try:
        Score.model_validate(record)
    except ValidationError as error:
        raise BenchError(f"{name} cannot be written: {first_fault(error)}") from None
    if record["run"] not in (None, folder.name):
        raise BenchError(f"{name} belongs to run {record['run']}, not to the run in {folder}")
    path = _path_of(folder, record)
    refuse_outside(path.parent, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if outcomes is not None:
        payload = io.BytesIO()
        outcomes.to_parquet(payload, index=False)
        write_atomic(path.with_suffix(".parquet"), payload.getvalue())
        digest = hashlib.sha256(payload.getvalue()).hexdigest()
        record = {**record, "outcomes_sha256": digest}
    try:
        record = {**record, "sha256": _own_sha256(record)}
        text = json.dumps(dict(record), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BenchError(f"{name} cannot be written as JSON: {error}") from None
    write_atomic(path, text.encode())
    return path


def read_baselines(out: Path, damaged: list[str] | None = None) -> list[ScoreRecord]:
    """The scores of baselines under an output root, in order of file name.

    Args:
        out: The output root.
        damaged: Receives a sentence about each damaged record, which is left out.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    return read_scores(out / "baselines", out, damaged)


def read_scores(folder: Path, root: Path, damaged: list[str] | None = None) -> list[ScoreRecord]:
    """The scores in a folder, in order of file name.

    Args:
        folder: `scores` of a run, or `baselines`; need not exist.
        root: The run's folder; for baselines, the output root.
        damaged: Receives a sentence about each damaged record, which is left out.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    scores = []
    refuse_outside(folder, root)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _SCORE_FILE.fullmatch(path.name) is None:
            continue
        try:
            scores.append(_read_score(path, folder, root))
        except RefusedError as error:
            left_out(damaged, error)
    return scores


def _read_score(path: Path, folder: Path, root: Path) -> ScoreRecord:
    data = parse_record(path, read_bytes(path, folder), Score)
    if data.get("sha256", "") not in ("", _own_sha256(data)):
        raise RefusedError(
            f"{path} was changed after it was written; remove it and repeat the command"
        )
    expected = _path_of(root, data)
    if path != expected:
        raise RefusedError(
            f"{path} contains a score that belongs in {expected.name}: it was renamed or edited; "
            "remove it and repeat the command"
        )
    if data["run"] not in (None, root.name):
        raise RefusedError(
            f"{path} is a score of run {data['run']}, not of {root.name}; remove it and repeat "
            "the command"
        )
    return ScoreRecord(folder, path.name, data)


def _own_sha256(record: Mapping[str, Any]) -> str:
    """The hash of a score without the hash in it; scores of earlier versions have none."""
    plain = json.loads(json.dumps({k: v for k, v in record.items() if k != "sha256"}))
    return sha256_json(plain)


def _path_of(folder: Path, record: Mapping[str, Any]) -> Path:
    key = score_key(*(record[part] for part in _KEY_PARTS))
    return score_path(folder, record["task"], key, record["baseline"])
