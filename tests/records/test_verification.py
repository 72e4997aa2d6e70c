"""`bench check` of records: a damaged file of any kind is named, and the others are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BenchError, RefusedError
from bench.records.verification import verify_records
from bench.storage import write_manifest
from tests.records.test_store import make_run, make_score


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed in range(2):
        folder = make_run(tmp_path, seed=seed)
        (folder / "encoder.safetensors").write_bytes(b"weights")
        write_manifest(folder, ["run.json", "encoder.safetensors"])
        make_score(folder)
    make_score(tmp_path, baseline="majority")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("runs/*s0*/encoder.safetensors", "encoder.safetensors"),
        ("runs/*s0*/run.json", "run.json"),
        ("runs/*s0*/scores/*.json", "was changed"),
        ("runs/*s0*/scores/*.parquet", "parquet"),
        ("baselines/*.json", "was changed"),
        ("baselines/*.parquet", "parquet"),
    ],
)
def test_a_flipped_byte_is_found_in_every_kind_of_file(
    out: Path, pattern: str, message: str
) -> None:
    (path,) = out.glob(pattern)
    payload = bytearray(path.read_bytes())
    if path.suffix == ".json":
        payload = payload.replace(b"0.75", b"0.95").replace(b"finished", b"diverged")
    else:
        payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    assert isinstance(CliRunner().invoke(app, ["check", str(out)]).exception, RefusedError)
    found = verify_records(str(out), out)
    assert len(found.problems) == 1
    assert message in found.problems[0]
    assert found.runs + found.scores + found.baselines < 5


def test_whole_records_are_counted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = next((out / "runs").iterdir())
    for name, runs, baselines in ((str(out), 2, 1), (str(run), 1, 0), (run.name[:11], 2, 0)):
        result = CliRunner().invoke(app, ["check", name, "--out", str(out), "--json"])
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["runs"], found["scores"], found["baselines"]) == (runs, runs, baselines)
    monkeypatch.chdir(out)
    text = CliRunner().invoke(app, ["check", "."]).stdout
    assert text == ".: as they were written: runs 2, scores 2, scores of baselines 1\n"


def test_no_name_is_no_run(out: Path) -> None:
    with pytest.raises(BenchError, match="no objective or task named ''"):
        CliRunner().invoke(app, ["check", "", "--out", str(out)], catch_exceptions=False)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no records"):
        verify_records(str(tmp_path), tmp_path)
