from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import api
from bench.catalog import describe, render_one
from bench.errors import BenchError, RefusedError
from bench.experiment import parse_probes
from bench.records.store import read_runs
from bench.reporting.comparison import comparison
from bench.reporting.run_summary import run_named
from bench.reporting.table import columns_of
from tests.records.test_store import make_run, make_score, rewrite

GRID = [[0.5, 0.6, 0.55], [0.71, 0.8, 0.8]]


def test_every_layer_behind_a_score_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    details = {"layer": 1, "pooling": "first", "poolings": ["mean", "first", "last"], "grid": GRID}
    make_score(folder, details=details | {"selectivity": 0.25}, probe_settings={"probe": "linear"})
    make_score(folder, "guess", outcomes=None, details={"reason": "it predicts no tokens"})
    found = describe(folder.name, tmp_path)
    assert json.loads(json.dumps(found))["scores"][1]["details"]["grid"] == GRID
    lines = render_one(found).splitlines()
    assert "guess: not applicable: it predicts no tokens" in lines
    assert "sense (linear): accuracy 0.7500 ±0.2500" in lines
    at = next(i for i, line in enumerate(lines) if "on dev" in line)
    assert lines[at].split() == ["on", "dev", "mean", "first", "last"]
    assert lines[at + 1].split() == ["embeddings", "0.5000", "0.6000", "0.5500"]
    assert lines[at + 2].split() == ["layer", "1", "0.7100", "0.8000*", "0.8000"]  # the first best


def test_a_run_goes_by_id_prefix_and_folder(tmp_path: Path) -> None:
    one, other = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1)
    for name in (one.name, "token-tiny-s0", str(one)):
        assert run_named(tmp_path, name).data["id"] == one.name
    with pytest.raises(BenchError, match=f"beginning of 2 runs: {one.name}, {other.name}"):
        run_named(tmp_path, "token")
    with pytest.raises(BenchError, match=r"no run named 'tokn'; did you mean 'token-tiny-s"):
        run_named(tmp_path, "tokn")
    with pytest.raises(BenchError, match="no objective, task, corpus, size or run named 'nothing'"):
        describe("nothing", tmp_path)
    rewrite(one / "run.json", seed=7)
    with pytest.raises(RefusedError, match="was changed"):
        describe(one.name, tmp_path)


def test_an_objective_is_described_before_its_runs(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert describe("token", tmp_path)["kind"] == "objective"


def test_what_a_run_that_predicts_nothing_fills_in(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no run named 'token'"):
        api.fill("token", "a [MASK]", out=tmp_path)


def test_columns_tell_how_a_task_was_read(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    make_score(folder, probe_settings={"probe": "linear"})
    assert [column.name for column in columns_of(read_runs(tmp_path), ())] == ["sense"]
    make_score(folder, probe_settings={"probe": "knn"})
    names = {column.name for column in columns_of(read_runs(tmp_path), ())}
    assert names == {"sense (probe=linear)", "sense (probe=knn)"}


def test_one_way_alone_is_told_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    make_score(make_run(tmp_path), probe_settings={"probe": "finetune"})
    (column,) = columns_of(read_runs(tmp_path), ())
    assert column.name == "sense (probe=finetune)"


def test_collapsed_seeds_are_told_above_the_table(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    details = {"seeds": [{"collapsed": c} for c in (False, True, False)], "collapsed_seeds": [1]}
    make_score(folder, probe_settings={"probe": "finetune"}, details=details)
    (table,) = comparison(read_runs(tmp_path)).tables
    assert any(
        "sense: token seed 0: 1 of 3 fine-tuning seeds collapsed; the mean is of the others" in line
        for line in table.warnings
    )


def test_ways_of_reading_are_checked() -> None:
    assert parse_probes("linear, knn,linear") == ["linear", "knn"]
    for text in ("", "deep", "linear,deep"):
        with pytest.raises(BenchError, match="is none of linear, mlp, knn, finetune"):
            parse_probes(text)
