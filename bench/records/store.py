"""The record store: finished runs, their scores, and the controls that need no encoder.

    <out>/runs/<run id>/run.json                      a pretraining, closed by its manifest.json
    <out>/runs/<run id>/scores/<task>-<key>.json      a score; per-example outcomes in .parquet
    <out>/baselines/<baseline>-<task>-<key>.json        the same for majority, bag-of-words, ...

Plain files rather than a database: nobody shares a file, so any number of writers needs no lock
(DuckDB refuses a second writer). A pair is written outcomes first, score last, each whole; so a
score that can be read has its outcomes. A name that is not exactly a record's is not looked at,
nor a folder of a run that no manifest closes. What is read was made by others: names, formats,
hashes and links are checked.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.errors import BenchError, RefusedError, unknown_name
from bench.records.outcomes import Outcomes, read_outcomes
from bench.records.schema import NAME, RUN_ID, Record, Run, Score
from bench.settings import canonical_json, sha256_json
from bench.storage import MANIFEST, read_manifest, write_atomic

if TYPE_CHECKING:
    import pandas as pd

_SCORE_FILE = re.compile(rf"(?:{NAME}-)?{NAME}-[0-9a-f]{{8}}\.json")
_CURVE, _LOSS = "curve.parquet", "validation_loss"
_PROBES: dict[str, str] = {}  # thirty thousand scores have few probes
_MAX_BYTES = 1 << 26  # a record is kilobytes; more than 64 MB is something else


Variant = tuple[str, str, str, str]
"""What makes two scores answers to one question: task, data sha256, probe, task code sha256."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreRecord:
    """A score as it lies on disk."""

    folder: Path
    file: str
    data: dict[str, Any]
    """The keys of the score format, checked."""
    summary: Outcomes | None = None
    """Its outcomes where they are known already (see `summaries`)."""

    @property
    def path(self) -> Path:
        """Of its file; put together when asked for, as thirty thousand are not."""
        return self.folder / self.file

    @functools.cached_property
    def variant(self) -> Variant:
        """The question it answers."""
        data, probe = self.data, repr(self.data["probe_settings"])
        if probe not in _PROBES:
            _PROBES[probe] = canonical_json(data["probe_settings"])
        return data["task"], data["data_sha256"], _PROBES[probe], data["task_code_sha256"]

    def outcomes(self) -> pd.DataFrame | None:
        """A row per test example, or None where the score has none.

        Raises:
            RefusedError: The outcomes are missing, or not those the score was computed from.
        """
        payload = self._payload()
        if payload is None:
            return None
        import pandas as pd

        return pd.read_parquet(io.BytesIO(payload))

    def per_example(self) -> Outcomes | None:
        """The same as arrays, read when asked for; None where they name no examples.

        Raises:
            RefusedError: The outcomes are missing, or not those the score was computed from.
        """
        payload = self._payload() if self.summary is None else None
        return self.summary if payload is None else read_outcomes(payload)

    def _payload(self) -> bytes | None:
        if self.data.get("outcomes_sha256") is None:
            return None
        path = self.path.with_suffix(".parquet")
        payload = _read_bytes(path, self.folder)
        _check_sha256(path, payload, self.data["outcomes_sha256"])
        return payload


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """A finished pretraining as it lies on disk, with the scores it has so far."""

    folder: Path
    data: dict[str, Any]
    """The keys of the run format, checked."""
    scores: list[ScoreRecord]
    collapse: str | None = None
    """Why it counts as collapsed, if it does: it trained, and its held-out loss did not fall."""

    @property
    def status(self) -> str:
        """`finished` where its scores count; else why they do not."""
        is_collapsed = self.data["status"] == "finished" and self.collapse is not None
        return "collapsed" if is_collapsed else str(self.data["status"])


def score_key(
    task: str,
    data_sha256: str,
    probe: Mapping[str, Any],
    task_code_sha256: str,
    attention: str = "native",
) -> str:
    """Eight hexadecimal digits that change with anything that could change the score."""
    return sha256_json([task, data_sha256, dict(probe), task_code_sha256, attention])[:8]


def score_path(folder: Path, task: str, key: str, baseline: str | None = None) -> Path:
    """Where a score lies: it is done if and only if this file exists.

    Args:
        folder: The run's folder; for a control, the output root.
        task: The task's name.
        key: From `score_key`.
        control: The control's name, or None for a run's score.

    Raises:
        BenchError: A name that could not be a file's, or leads elsewhere.
    """
    for kind, name in (("task", task), ("baseline", baseline)):
        if name is not None and re.fullmatch(NAME, name) is None:
            raise BenchError(
                f"{kind} name {name!r} names no file: write a-z, 0-9 and _, a letter first, "
                "64 characters at most"
            )
    if re.fullmatch(r"[0-9a-f]{8}", key) is None:
        raise BenchError(f"score key {key!r} is not eight hexadecimal digits (see score_key)")
    if baseline is None:
        return folder / "scores" / f"{task}-{key}.json"
    return folder / "baselines" / f"{baseline}-{task}-{key}.json"


def write_score(folder: Path, record: Mapping[str, Any], outcomes: pd.DataFrame | None) -> Path:
    """Write a score and its per-example outcomes; return the score's path.

    Args:
        folder: The run's folder; for a control, the output root.
        record: The keys of the score format.
        outcomes: A row per test example; None where the task does not apply.

    Raises:
        BenchError: The record is malformed, names the key.
        FailedError: The disk is full; what was there before is intact.
        RefusedError: The folder of scores is a link that leads elsewhere.
    """
    what = f"score of task {record.get('task')!r}"
    try:
        Score.model_validate(record)
    except ValidationError as error:
        raise BenchError(f"{what} cannot be kept: {_first_fault(error)}") from None
    if record["run"] not in (None, folder.name):
        raise BenchError(f"{what} is of run {record['run']}, not of the run in {folder}")
    path = _path_of(folder, record)
    _refuse_outside(path.parent, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if outcomes is not None:
        payload = io.BytesIO()
        outcomes.to_parquet(payload, index=False)
        write_atomic(path.with_suffix(".parquet"), payload.getvalue())
        digest = hashlib.sha256(payload.getvalue()).hexdigest()
        record = {**record, "outcomes_sha256": digest}
    try:
        text = json.dumps(dict(record), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BenchError(f"{what} cannot be kept as JSON: {error}") from None
    write_atomic(path, text.encode())
    return path


def read_runs(out: Path, selection: Sequence[str] = ()) -> list[RunRecord]:
    """The finished runs under an output root, or those selected, each once.

    Args:
        out: The output root; need not exist.
        selection: Run ids, prefixes of ids (`span`, `span-tiny-s0`), folders of runs, or other
            output roots. Empty: every run, in order of name.

    Raises:
        BenchError: A selection that matches nothing.
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    return [read_run(folder) for folder in selected_folders(out, selection)]


def selected_folders(out: Path, selection: Sequence[str] = ()) -> list[Path]:
    """The folders of the runs that `read_runs` reads."""
    found = {folder.name: folder for folder in _run_folders(out)}
    folders = [] if selection else list(found.values())
    for item in selection:
        path = Path(item)
        matches = [folder for name, folder in found.items() if item and name.startswith(item)]
        if item in found:
            matches = [found[item]]
        elif not matches and os.path.isfile(path / MANIFEST):
            matches = [Path(os.path.realpath(path))]
        elif not matches and os.path.isdir(path / "runs"):
            matches = list(_run_folders(path))
        if not matches:
            raise unknown_name("run", item, found, str(out / "runs"))
        folders.extend(matches)
    return list({os.path.realpath(folder): folder for folder in folders}.values())


def read_baselines(out: Path) -> list[ScoreRecord]:
    """The controls under an output root, in order of name.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    return _read_scores(out / "baselines", out)


def _run_folders(out: Path) -> Iterator[Path]:
    runs = out / "runs"
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if re.fullmatch(RUN_ID, folder.name) and os.path.isfile(folder / MANIFEST):
            _refuse_outside(folder, out)
            yield folder


def read_run(folder: Path) -> RunRecord:
    """One finished run.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    path = folder / "run.json"
    payload = _read_bytes(path, folder)
    files = read_manifest(folder)["files"]
    if path.name not in files:
        raise RefusedError(f"{folder / MANIFEST} does not list {path.name}: not a run's folder")
    _check_sha256(path, payload, files[path.name]["sha256"])
    data = _parse(path, payload, Run)
    if data["id"] != folder.name:
        raise RefusedError(f"{path} says it is run {data['id']}; rename the folder back to that")
    scores = _read_scores(folder / "scores", folder)
    for score in scores:
        if score.data["run"] != data["id"]:
            raise RefusedError(
                f"{score.path} is a score of run {score.data['run']}, not of {data['id']}; "
                "remove it and repeat the command"
            )
    return RunRecord(folder, data, scores, _collapse(folder, data, files))


def _collapse(folder: Path, data: dict[str, Any], files: Mapping[str, Any]) -> str | None:
    """Losses of unlike objectives are not comparable, but a run's end with its own beginning is."""
    if _CURVE not in files or not data["spent"]["tokens"]:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    payload = _read_bytes(folder / _CURVE, folder)
    _check_sha256(folder / _CURVE, payload, files[_CURVE]["sha256"])
    curve = pq.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    if _LOSS not in curve.column_names or curve.num_rows < 2:
        return None
    first, last = (curve.column(_LOSS)[row].as_py() for row in (0, curve.num_rows - 1))
    if first is None or last is None or not last >= first:  # unknown (NaN), or it fell
        return None
    return f"its held-out loss was {first:.3f} nats at the start and {last:.3f} at the end"


def _read_scores(folder: Path, root: Path) -> list[ScoreRecord]:
    scores = []
    _refuse_outside(folder, root)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _SCORE_FILE.fullmatch(path.name) is None:
            continue
        data = _parse(path, _read_bytes(path, folder), Score)
        expected = _path_of(root, data)
        if path != expected:
            raise RefusedError(
                f"{path} holds a score that belongs in {expected.name}: it was renamed or "
                "edited; remove it and repeat the command"
            )
        scores.append(ScoreRecord(folder, path.name, data))
    return scores


def _path_of(folder: Path, record: Mapping[str, Any]) -> Path:
    parts = ("task", "data_sha256", "probe_settings", "task_code_sha256", "attention")
    key = score_key(*(record[part] for part in parts))
    return score_path(folder, record["task"], key, record["baseline"])


def _parse(path: Path, payload: bytes, model: type[Record]) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(payload, parse_constant=_refuse_constant)
        model.model_validate(data)
    except ValidationError as error:
        raise RefusedError(f"{path} is not a record of format 2: {_first_fault(error)}") from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{path} is damaged: not JSON ({error}); remove it") from None
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    got = repr(first["input"])
    shown = "" if first["type"] == "missing" or len(got) > 200 else f" (got {got})"
    return f"{where}: {first['msg']}{shown}" if where else f"{first['msg']}"


def _read_bytes(path: Path, root: Path) -> bytes:
    _refuse_outside(path, root)
    try:
        if path.stat().st_size > _MAX_BYTES and path.suffix == ".json":
            raise RefusedError(f"{path} is no record: {path.stat().st_size} bytes")
        return path.read_bytes()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read ({error.strerror})") from None


def _refuse_outside(path: Path, root: Path) -> None:
    """A link planted among the records must not lead out of them."""
    if path.parent == root and not path.is_symlink():
        return  # sixty thousand files are each in the folder that was looked at already
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(root)):
        raise RefusedError(f"{path} leads to {real}, outside {root}; remove the link")


def _check_sha256(path: Path, payload: bytes, expected: str) -> None:
    found = hashlib.sha256(payload).hexdigest()
    if found != expected:
        raise RefusedError(
            f"{path} was changed after it was written: sha256 expected {expected}, found {found}"
        )
