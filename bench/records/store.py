"""The record store: finished runs with their scores.

    <out>/runs/<run id>/run.json                      a pretraining; manifest.json is written last
    <out>/runs/<run id>/scores/<task>-<key>.json      a score; per-example outcomes in .parquet
    <out>/baselines/<baseline>-<task>-<key>.json      the same for majority, bag-of-words, ...

The store is made of plain files, not of a database: no two writers share a file, so any number of
writers needs no lock (DuckDB refuses a second writer). A run's folder without a manifest is
ignored. Records may come from other people, so names, formats, hashes and links are checked (see
`bench.records.files`).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, RefusedError, unknown_name
from bench.records.files import check_sha256, left_out, parse_record, read_bytes, refuse_outside
from bench.records.schema import RUN_ID, Run
from bench.records.scores import ScoreRecord, read_scores
from bench.storage import MANIFEST, read_manifest, verify_manifest

NOT_LEARNED = "finished, did not learn"
"""The status of a run that ended, but is no better than a predictor without any context."""
LEARNED_NATS = 0.1
"""A run has learned if its validation loss is this far below the loss of token frequencies: a
predictor that knows which positions are masked, and nothing of the context, gains up to half."""
_CURVE, _LOSS = "curve.parquet", "validation_loss"


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """A finished pretraining on disk, with the scores it has so far."""

    folder: Path
    data: dict[str, Any]
    """The keys of the run format, checked."""
    scores: list[ScoreRecord]
    not_learned: str | None = None
    """Why the run counts as one that did not learn, if it does."""

    @property
    def status(self) -> str:
        """`finished` if the run's scores count, else the reason why they do not."""
        if self.data["status"] == "finished" and self.not_learned is not None:
            return NOT_LEARNED
        return str(self.data["status"])

    @property
    def continues(self) -> str | None:
        """The checkpoint that the run continues, with a part of its sha256."""
        init = self.data["spec"].get("init")
        if not isinstance(init, dict):
            return None
        name = self.data.get("init", {}).get("name", "")
        return f"{name} ({str(init.get('sha256'))[:8]})".strip()

    @property
    def machine(self) -> str:
        """The machine in words: `AMD EPYC, 1 thread, torch 2.13.0`."""
        spec, hardware = self.data["spec"], self.data.get("hardware")
        known = hardware if isinstance(hardware, dict) else {}
        device = str(spec.get("device", "cpu"))
        name = (known.get("gpu") if device != "cpu" else None) or known.get("cpu") or device
        training = spec.get("training")
        threads = training.get("threads") if isinstance(training, dict) else None
        count = "threads unknown" if threads is None else f"{threads} thread{'s' * (threads != 1)}"
        return f"{name}, {count}, torch {spec.get('torch_version', 'unknown')}"


def make_store(out: Path) -> Path:
    """Make an output root where there is none, and return the folder of its runs.

    Raises:
        BenchError: It cannot be written there.
    """
    try:
        str(out.resolve()).encode()  # job files name it
        (out / "runs").mkdir(parents=True, exist_ok=True)
    except UnicodeEncodeError:
        raise BenchError(
            f"--out {str(out)!r}: the name of the folder is not UTF-8; name another folder"
        ) from None
    except OSError as error:
        raise BenchError(
            f"--out {out}: records cannot be written there ({error.strerror}); name another folder"
        ) from None
    return out / "runs"


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


def selected_folders(
    out: Path, selection: Sequence[str] = (), damaged: list[str] | None = None
) -> list[Path]:
    """The folders of the runs that `read_runs` reads."""
    known = {folder.name: folder for folder in _run_folders(out, damaged)}
    folders = [] if selection else list(known.values())
    for item in selection:
        path = Path(item)
        matches = [folder for name, folder in known.items() if item and name.startswith(item)]
        if item in known:
            matches = [known[item]]
        elif not matches and os.path.isfile(path / MANIFEST):
            matches = [Path(os.path.realpath(path))]
        elif not matches and os.path.isdir(path / "runs"):
            matches = list(_run_folders(path, damaged))
        if not matches:
            raise unknown_name("run", item, known, str(out / "runs"))
        folders.extend(matches)
    return list({os.path.realpath(folder): folder for folder in folders}.values())


def _run_folders(out: Path, damaged: list[str] | None = None) -> Iterator[Path]:
    runs = out / "runs"
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if not (re.fullmatch(RUN_ID, folder.name) and os.path.isfile(folder / MANIFEST)):
            continue
        try:
            refuse_outside(folder, out)
        except RefusedError as error:
            left_out(damaged, error)
        else:
            yield folder


def read_run(folder: Path, damaged: list[str] | None = None) -> RunRecord:
    """One finished run.

    Args:
        folder: Its folder.
        damaged: Receives a sentence about each damaged score, which is left out.

    Raises:
        RefusedError: A record is malformed, was changed, or is a link that leads elsewhere.
    """
    path = folder / "run.json"
    payload = read_bytes(path, folder)
    files = read_manifest(folder)["files"]
    if path.name not in files:
        raise RefusedError(
            f"{folder / MANIFEST} does not list {path.name}: not the folder of a run"
        )
    check_sha256(path, payload, files[path.name]["sha256"])
    data = parse_record(path, payload, Run)
    if data["id"] != folder.name:
        raise RefusedError(f"{path} is the record of run {data['id']}; rename the folder to that")
    scores = read_scores(folder / "scores", folder, damaged)
    return RunRecord(folder, data, scores, _not_learned(folder, data, files))


def read_whole_run(folder: Path, damaged: list[str] | None = None) -> RunRecord:
    """One finished run, after all its files were hashed, the weights too.

    Args:
        folder: Its folder.
        damaged: Receives a sentence about each damaged score, which is left out.

    Raises:
        RefusedError: A file is missing, was changed, or is a link that leads elsewhere.
    """
    for name in (MANIFEST, *read_manifest(folder)["files"]):
        refuse_outside(folder / name, folder)
    verify_manifest(folder)
    return read_run(folder, damaged)


def _not_learned(folder: Path, data: dict[str, Any], files: Mapping[str, Any]) -> str | None:
    """Why a run did not learn; None if it did, or if its losses cannot tell.

    The losses of different objectives are not comparable; the last loss of a run with its own first
    loss, and with the loss of token frequencies on the same labels, are.
    """
    if not data["spent"]["tokens"]:
        return None
    loss, unigram = data.get("validation_loss"), data.get("unigram_loss")
    if loss is not None and unigram is not None and loss > unigram - LEARNED_NATS:
        return (
            f"its validation loss is {loss:.2f} nats, and predicting every token by its frequency "
            f"gives {unigram:.2f}"
        )
    continued = data.get("init", {})
    if continued.get("keeps_head") or _CURVE not in files:
        return None  # a checkpoint may know the text already; see `learning_warnings`
    import pyarrow as pa
    import pyarrow.parquet as pq

    payload = read_bytes(folder / _CURVE, folder)
    check_sha256(folder / _CURVE, payload, files[_CURVE]["sha256"])
    curve = pq.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    if _LOSS not in curve.column_names or curve.num_rows < 2:
        return None
    first, last = (curve.column(_LOSS)[row].as_py() for row in (0, curve.num_rows - 1))
    first = continued.get("start_loss", first)  # corrupted as at the end, so that they compare
    if first is None or last is None or not last >= first:  # unknown, NaN, or lower
        return None
    return f"its validation loss was {first:.3f} nats at the start and {last:.3f} at the end"
