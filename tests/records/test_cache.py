from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import RefusedError
from bench.records import cache as records_cache
from bench.records.cache import read_cached_baselines, read_cached_runs
from bench.records.outcomes import read_outcomes
from bench.records.scores import read_baselines
from bench.records.store import RunRecord, read_runs
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from bench.reporting.text import render
from tests.helpers.store_generator import make_store
from tests.records.test_store import make_run, make_score


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store"), 5, 3, 6, 60)


def cached(out: Path, cache: Path) -> list[RunRecord]:
    return read_cached_runs(out, (), cache)


def tables(out: Path, cache: Path | None) -> Any:
    runs = read_runs(out) if cache is None else read_cached_runs(out, (), cache)
    baselines = read_baselines(out) if cache is None else read_cached_baselines(out, cache)
    table_set = TableSet.from_records(runs, baselines, "token")
    return long_form(table_set), render(table_set)


def test_tables_are_the_same_from_records_and_from_the_cache(store: Path, tmp_path: Path) -> None:
    first, built, again = (tables(store, cache) for cache in (None, tmp_path, tmp_path))
    assert first == built == again


def test_a_cached_run_is_not_read_again(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> RunRecord:
        raise AssertionError(f"{folder} was read again")

    cached(store, tmp_path)
    monkeypatch.setattr(records_cache, "read_run", refuse)
    runs = cached(store, tmp_path)
    assert len(runs) == 15
    outcomes = runs[0].scores[0].per_example()
    assert outcomes is not None
    assert outcomes.by_name["outcome"].dtype == np.float64
    assert runs[0].scores[0].path.is_file()


def test_new_and_changed_scores_are_read(tmp_path: Path) -> None:
    folder, cache = make_run(tmp_path), tmp_path / "cache"
    path = make_score(folder)
    assert len(cached(tmp_path, cache)[0].scores) == 1
    make_score(folder, "another", [0.25, 1.0, 0.5])
    (run,) = cached(tmp_path, cache)
    assert len(run.scores) == 2
    outcomes = cached(tmp_path, cache)[0].scores[0].per_example()
    assert outcomes is not None
    assert outcomes.by_name["outcome"].tolist() == [0.25, 1.0, 0.5]  # stored as float64
    before = os.stat(path.with_suffix(".parquet"))
    payload = bytearray(path.with_suffix(".parquet").read_bytes())
    payload[len(payload) // 2] ^= 1
    path.with_suffix(".parquet").write_bytes(payload)
    os.utime(path.with_suffix(".parquet"), ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RefusedError, match="was changed"):  # although size and time are as before
        cached(tmp_path, cache)


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, None])
def test_a_broken_cache_file_is_ignored(tmp_path: Path, damage: bytes | None) -> None:
    make_score(make_run(tmp_path))
    cache = tmp_path / "cache"
    cached(tmp_path, cache)
    for path in (cache / "summaries").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content) if damage is None else damage)
    assert cached(tmp_path, cache)[0].scores[0].data["value"] == 0.75


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    make_score(make_run(tmp_path))
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert len(cached(tmp_path, blocked)) == 1


def test_a_link_out_of_the_store_is_refused_every_time(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    path = make_score(make_run(out))
    cached(out, cache)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    for _ in range(2):
        with pytest.raises(RefusedError, match="outside"):
            cached(out, cache)


def parquet(tmp_path: Path, **columns: Any) -> bytes:
    pd.DataFrame(columns).to_parquet(tmp_path / "x.parquet", index=False)
    return (tmp_path / "x.parquet").read_bytes()


def test_outcomes_are_ordered_by_example(tmp_path: Path) -> None:
    first = read_outcomes(
        parquet(tmp_path, example=[10, 2, 7], outcome=[True, False, True]), Path("x.parquet")
    )
    second = read_outcomes(
        parquet(tmp_path, example=[2, 7, 10], outcome=[0.0, 1.0, 1.0]), Path("x.parquet")
    )
    names = read_outcomes(
        parquet(tmp_path, example=["b", "a"], outcome=[1, 0], tag=["x", "y"]), Path("x.parquet")
    )
    assert first is not None
    assert second is not None
    assert names is not None
    assert first.examples == second.examples != names.examples
    assert first.by_name["outcome"].tolist() == second.by_name["outcome"].tolist() == [0, 1, 1]
    assert names.by_name["outcome"].tolist() == [0, 1]
    assert list(names.by_name) == ["outcome"]


@pytest.mark.parametrize("examples", [[1, 1, 2], ["a", "b", "a"], [3]])
def test_examples_without_unique_names_give_no_outcomes(
    tmp_path: Path, examples: list[Any]
) -> None:
    payload = parquet(tmp_path, example=examples, outcome=[0.0] * len(examples))
    assert read_outcomes(payload, Path("x.parquet")) is None


@pytest.mark.slow
def test_a_comparison_of_500_runs_and_60_tasks(tmp_path: Path) -> None:
    """Only the statistics are timed: the time to read depends on the disk."""
    import time

    out = make_store(tmp_path / "store")
    cache = tmp_path / "cache"
    cached(out, cache)
    read_cached_baselines(out, cache)
    started = time.process_time()
    rows, text = tables(out, cache)
    assert time.process_time() - started < 20  # seconds of a busy machine; 2 to 3 of an idle one
    assert len(rows) == 52 * 60
    assert "invented_44" in text
