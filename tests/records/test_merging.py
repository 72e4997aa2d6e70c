"""Records of several folders become one: verified, equal copies merged, different ones named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.records.merging import merge
from bench.records.scores import read_baselines
from bench.records.store import read_runs
from bench.storage import MANIFEST, file_sha256, write_manifest
from tests.helpers.paths import ROOT
from tests.records.test_store import make_run, make_score


def run_in(out: Path, seed: int = 0, weights: bytes = b"weights", seconds: float = 1.0) -> Path:
    """A finished run with weights, which took some seconds."""
    folder = make_run(out, seed=seed, tokens_per_second=1e6 / seconds)
    data = json.loads((folder / "run.json").read_text())
    data["spent"]["seconds"] = seconds
    (folder / "run.json").write_text(json.dumps(data))
    (folder / "encoder.safetensors").write_bytes(weights)
    write_manifest(folder, ["run.json", "encoder.safetensors"])
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_disjoint_folders_are_united_and_the_sources_are_not_changed(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        folder = run_in(tmp_path / name, seed=number)
        make_score(folder)
        make_score(tmp_path / name, task=f"task_{name}", baseline="majority")
    before = {name: contents(tmp_path / name) for name in "ab"}
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert dict(merged.copied) == {"runs": 2, "scores": 2, "baselines": 2}
    assert (merged.equal, merged.problems) == (0, [])
    runs = read_runs(tmp_path / "out")
    assert [run.data["seed"] for run in runs] == [0, 1]
    assert all(score.outcomes() is not None for run in runs for score in run.scores)
    assert len(read_baselines(tmp_path / "out")) == 2
    assert contents(tmp_path / "out") == before["a"] | before["b"]
    assert before == {name: contents(tmp_path / name) for name in "ab"}


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    make_score(run_in(tmp_path / "a"))
    merge([tmp_path / "a"], tmp_path / "out")
    before = contents(tmp_path / "out")
    merged = merge([tmp_path / "a", tmp_path / "out"], tmp_path / "out")
    assert not merged.copied
    assert merged.equal == 2
    assert contents(tmp_path / "out") == before


def test_scores_of_one_run_are_united(tmp_path: Path) -> None:
    for name in "ab":
        make_score(run_in(tmp_path / name), task=f"task_{name}")
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    (run,) = read_runs(tmp_path / "out")
    assert [score.data["task"] for score in run.scores] == ["task_a", "task_b"]
    assert merged.equal == 1


def test_a_run_that_was_done_twice_is_equal_whatever_it_took(tmp_path: Path) -> None:
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        make_score(run_in(tmp_path / name, seconds=seconds), seconds=seconds)
    merged = merge([tmp_path / "b", tmp_path / "a"], tmp_path / "out")
    assert (merged.equal, merged.problems) == (2, [])
    assert contents(tmp_path / "out") == contents(tmp_path / "b")  # the first folder


def test_different_copies_are_a_conflict_and_neither_is_taken(tmp_path: Path) -> None:
    for name in "ab":
        make_score(run_in(tmp_path / name, weights=name.encode()))
        run_in(tmp_path / name, seed=1)
    before = {name: contents(tmp_path / name) for name in "ab"}
    for order in ("ab", "ba"):
        out = tmp_path / f"out of {order}"
        merged = merge([tmp_path / name for name in order], out)
        (problem,) = merged.problems
        assert "different contents (encoder.safetensors)" in problem
        assert all(str(tmp_path / name / "runs") in problem for name in "ab")
        assert [run.data["seed"] for run in read_runs(out)] == [1]
    assert before == {name: contents(tmp_path / name) for name in "ab"}


def test_a_conflict_with_the_target_keeps_the_target(tmp_path: Path) -> None:
    run_in(tmp_path / "out", weights=b"mine")
    run_in(tmp_path / "a", weights=b"theirs")
    before = contents(tmp_path / "out")
    assert len(merge([tmp_path / "a"], tmp_path / "out").problems) == 1
    assert contents(tmp_path / "out") == before


def test_different_scores_of_one_run_are_a_conflict_of_the_scores_alone(tmp_path: Path) -> None:
    for name, outcomes in (("a", [1.0, 0.0]), ("b", [1.0, 1.0])):
        folder = run_in(tmp_path / name)
        make_score(folder, outcomes=outcomes)
        make_score(folder, task="other")
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    (problem,) = merged.problems
    assert "outcomes_sha256, stderr, value" in problem
    (run,) = read_runs(tmp_path / "out")
    assert [score.data["task"] for score in run.scores] == ["other"]


@pytest.mark.parametrize("file", ["encoder.safetensors", "run.json", MANIFEST, "scores"])
def test_a_damaged_run_is_named_and_an_intact_copy_of_it_is_taken(
    file: str, tmp_path: Path
) -> None:
    damaged, intact = run_in(tmp_path / "a"), run_in(tmp_path / "b")
    score = make_score(damaged)
    path = score.with_suffix(".parquet") if file == "scores" else damaged / file
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert len(merged.problems) == 1
    assert str(damaged) in merged.problems[0]
    assert contents(tmp_path / "out" / "runs" / intact.name) == contents(intact)


def test_a_damaged_run_in_the_target_is_named_and_left_alone(tmp_path: Path) -> None:
    make_score(run_in(tmp_path / "a"))
    target = run_in(tmp_path / "out")
    (target / "encoder.safetensors").write_bytes(b"changed")
    before = contents(tmp_path / "out")
    merged = merge([tmp_path / "a"], tmp_path / "out")
    assert "encoder.safetensors was changed" in merged.problems[0]
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("what", ["folder", "file", "manifest", "scores"])
def test_a_link_that_leads_out_is_refused(what: str, tmp_path: Path) -> None:
    folder = run_in(tmp_path / "a")
    secret = tmp_path / "elsewhere"
    if what == "folder":
        shutil.move(folder, secret)
        folder.symlink_to(secret)
    elif what == "scores":
        make_score(folder)
        shutil.move(folder / "scores", secret)
        (folder / "scores").symlink_to(secret)
    else:
        path = folder / {"file": "encoder.safetensors", "manifest": MANIFEST}[what]
        shutil.move(path, secret)
        path.symlink_to(secret)
    merged = merge([tmp_path / "a"], tmp_path / "out")
    assert "remove the link" in merged.problems[0]
    assert not read_runs(tmp_path / "out")


def test_an_interrupted_merge_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_score(run_in(tmp_path / "a"))

    def full(path: Path, payload: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bench.records.merging.write_atomic", full)
        with pytest.raises(OSError, match="No space left"):
            merge([tmp_path / "a"], tmp_path / "out")
    assert len(read_runs(tmp_path / "out")) == 1  # complete, without its score
    merge([tmp_path / "a"], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "a")


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nowhere has no records"):
        merge([tmp_path / "nowhere"], tmp_path / "out")


def test_the_command_says_what_it_did_and_exits_with_3_for_a_conflict(tmp_path: Path) -> None:
    for name in "ab":
        run_in(tmp_path / name, weights=name.encode())
        run_in(tmp_path / name, seed=1)

    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", "merge", *arguments, "--out", "out"],
            cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    done = bench("a")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == "out: copied 2 runs, 0 scores, 0 baselines; 0 copies are equal to others\n"
    )
    done = bench("a", "b")
    assert done.returncode == 3
    assert done.stderr.startswith("bench: left out 1 of the records, merged all others:\n  ")
    assert "Traceback" not in done.stderr


def test_only_the_damaged_scores_are_left_out(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    folder = make_run(source)
    for task in ("one", "two", "three"):
        make_score(folder, task)
        make_score(source, task, baseline="majority")
    for path in (*folder.glob("scores/one-*.json"), *source.glob("baselines/majority-one-*.json")):
        path.write_text(path.read_text().replace("{", "", 1))
    merged = merge([source], out)
    assert merged.copied == {"runs": 1, "scores": 2, "baselines": 2}
    assert len(merged.problems) == 2
