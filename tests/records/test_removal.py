from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.records.removal import remove_run
from bench.records.store import read_runs
from tests.records.test_store import make_run, make_score


def test_a_removed_run_is_gone_with_its_scores_and_others_stay(tmp_path: Path) -> None:
    make_score(make_run(tmp_path, "token"))
    make_score(make_run(tmp_path, "span"))
    first, second = read_runs(tmp_path)
    remove_run(first, tmp_path)
    assert [run.data["id"] for run in read_runs(tmp_path)] == [second.data["id"]]
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name.startswith(".")]


def test_only_runs_of_the_output_root_are_removed(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    (run,) = read_runs(tmp_path / "a")
    with pytest.raises(BenchError, match="name its folder with --out"):
        remove_run(run, tmp_path / "b")
    assert run.folder.is_dir()
