from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import RefusedError
from bench.records import cache as summaries
from bench.records.cache import read_cached_baselines, read_cached_runs
from bench.records.outcomes import read_outcomes
from bench.records.store import RunRecord, read_baselines, read_runs
from bench.reporting.comparison import comparison
from bench.reporting.text import render
from tests.helpers.store_generator import make_store
from tests.records.test_store import make_run, make_score


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"), 5, 3, 6, 60)


def kept(out: Path, cache: Path) -> list[RunRecord]:
    return read_cached_runs(out, (), cache)


def shown(out: Path, cache: Path | None) -> Any:
    runs = read_runs(out) if cache is None else read_cached_runs(out, (), cache)
    baselines = read_baselines(out) if cache is None else read_cached_baselines(out, cache)
    compared = comparison(runs, baselines, "token")
    return compared.long_form(), render(compared)


def test_tables_are_the_same_from_records_and_from_summaries(store: Path, tmp_path: Path) -> None:
    first, built, again = (shown(store, cache) for cache in (None, tmp_path, tmp_path))
    assert first == built == again


def test_what_was_kept_is_not_read_again(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> RunRecord:
        raise AssertionError(f"{folder} was read again")

    kept(store, tmp_path)
    monkeypatch.setattr(summaries, "read_run", refuse)
    runs = kept(store, tmp_path)
    assert len(runs) == 15
    found = runs[0].scores[0].per_example()
    assert found is not None
    assert found.by_name["outcome"].dtype == np.float64
    assert runs[0].scores[0].path.is_file()


def test_a_new_score_and_a_changed_one_are_seen(tmp_path: Path) -> None:
    folder, cache = make_run(tmp_path), tmp_path / "cache"
    path = make_score(folder)
    assert len(kept(tmp_path, cache)[0].scores) == 1
    make_score(folder, "another", [0.25, 1.0, 0.5])
    (run,) = kept(tmp_path, cache)
    assert len(run.scores) == 2
    found = kept(tmp_path, cache)[0].scores[0].per_example()
    assert found is not None
    assert found.by_name["outcome"].tolist() == [0.25, 1.0, 0.5]  # no whole numbers, kept in full
    before = os.stat(path.with_suffix(".parquet"))
    payload = bytearray(path.with_suffix(".parquet").read_bytes())
    payload[len(payload) // 2] ^= 1
    path.with_suffix(".parquet").write_bytes(payload)
    os.utime(path.with_suffix(".parquet"), ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RefusedError, match="was changed"):  # although size and time are as before
        kept(tmp_path, cache)


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, None])
def test_a_broken_summary_is_as_good_as_none(tmp_path: Path, damage: bytes | None) -> None:
    make_score(make_run(tmp_path))
    cache = tmp_path / "cache"
    kept(tmp_path, cache)
    for path in (cache / "summaries").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content) if damage is None else damage)
    assert kept(tmp_path, cache)[0].scores[0].data["value"] == 0.75


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    make_score(make_run(tmp_path))
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert len(kept(tmp_path, blocked)) == 1


def test_a_planted_link_is_refused_every_time(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    path = make_score(make_run(out))
    kept(out, cache)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    for _ in range(2):
        with pytest.raises(RefusedError, match="outside"):
            kept(out, cache)


def parquet(tmp_path: Path, **columns: Any) -> bytes:
    pd.DataFrame(columns).to_parquet(tmp_path / "x.parquet", index=False)
    return (tmp_path / "x.parquet").read_bytes()


def test_outcomes_are_in_order_of_example_whatever_the_file_says(tmp_path: Path) -> None:
    first = read_outcomes(parquet(tmp_path, example=[10, 2, 7], outcome=[True, False, True]))
    second = read_outcomes(parquet(tmp_path, example=[2, 7, 10], outcome=[0.0, 1.0, 1.0]))
    names = read_outcomes(parquet(tmp_path, example=["b", "a"], outcome=[1, 0], tag=["x", "y"]))
    assert first is not None
    assert second is not None
    assert names is not None
    assert first.examples == second.examples != names.examples
    assert first.by_name["outcome"].tolist() == second.by_name["outcome"].tolist() == [0, 1, 1]
    assert names.by_name["outcome"].tolist() == [0, 1]
    assert list(names.by_name) == ["outcome"]


@pytest.mark.parametrize("examples", [[1, 1, 2], ["a", "b", "a"], [3]])
def test_examples_that_cannot_be_told_apart_are_none(tmp_path: Path, examples: list[Any]) -> None:
    assert read_outcomes(parquet(tmp_path, example=examples, outcome=[0.0] * len(examples))) is None


@pytest.mark.slow
def test_a_comparison_of_500_runs_and_60_tasks(tmp_path: Path) -> None:
    """The statistics alone; what reading costs depends on the disk, and is paid once."""
    import time

    out = make_store(tmp_path / "store")
    cache = tmp_path / "cache"
    kept(out, cache)
    read_cached_baselines(out, cache)
    started = time.process_time()
    rows, text = shown(out, cache)
    assert time.process_time() - started < 20  # seconds of a busy machine; 2 to 3 of an idle one
    assert len(rows) == 52 * 60
    assert "invented_44" in text
