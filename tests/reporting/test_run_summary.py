from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import api
from bench.catalog import Item, describe
from bench.errors import BenchError, RefusedError
from bench.experiment.tasks import read_probes
from bench.records.store import read_runs
from bench.reporting.columns import columns_of
from bench.reporting.run_summary import RunSummary, run_named
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score, rewrite

GRID = [[0.5, 0.6, 0.55], [0.71, 0.8, 0.8]]


def test_the_scores_of_all_layers_are_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    details = {"layer": 1, "pooling": "first", "poolings": ["mean", "first", "last"], "grid": GRID}
    make_score(folder, details=details | {"selectivity": 0.25}, probe_settings={"probe": "linear"})
    make_score(folder, "guess", outcomes=None, details={"reason": "it predicts no tokens"})
    summary = describe(folder.name, tmp_path)
    assert isinstance(summary, RunSummary)
    assert json.loads(json.dumps(summary.to_json()))["scores"][1]["details"]["grid"] == GRID
    lines = summary.to_text().splitlines()
    assert "  parameters: 250,000 of the encoder, 4,224 discarded after pretraining" in lines
    assert "guess: not applicable: it predicts no tokens" in lines
    assert "sense (linear): accuracy 0.7500 ±0.2500" in lines
    at = next(i for i, line in enumerate(lines) if "on dev" in line)
    assert lines[at].split() == ["on", "dev", "mean", "first", "last"]
    assert lines[at + 1].split() == ["embeddings", "0.5000", "0.6000", "0.5500"]
    assert lines[at + 2].split() == ["layer", "1", "0.7100", "0.8000*", "0.8000"]  # the first best


def test_a_run_is_named_by_id_prefix_or_folder(tmp_path: Path) -> None:
    one, other = make_run(tmp_path, seed=0), make_run(tmp_path, seed=1)
    for name in (one.name, "token-tiny-s0", str(one)):
        assert run_named(tmp_path, name).data["id"] == one.name
    with pytest.raises(BenchError, match=f"beginning of 2 runs: {one.name}, {other.name}"):
        run_named(tmp_path, "token")
    with pytest.raises(BenchError, match=r"no run named 'tokn'; did you mean 'token-tiny-s"):
        run_named(tmp_path, "tokn")
    with pytest.raises(BenchError, match="or run named 'nothing'"):
        describe("nothing", tmp_path)
    rewrite(one / "run.json", seed=7)
    with pytest.raises(RefusedError, match="was changed"):
        describe(one.name, tmp_path)


def test_an_objective_is_described_before_its_runs(tmp_path: Path) -> None:
    make_run(tmp_path)
    item = describe("token", tmp_path)
    assert isinstance(item, Item)
    assert item.kind == "objective"


def test_fill_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no run named 'token'"):
        api.fill("token", "a [MASK]", out=tmp_path)


def test_columns_name_the_probe_if_there_are_several(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    make_score(folder, probe_settings={"probe": "linear"})
    assert [column.name for column in columns_of(read_runs(tmp_path), ())] == ["sense"]
    make_score(folder, probe_settings={"probe": "knn"})
    names = {column.name for column in columns_of(read_runs(tmp_path), ())}
    assert names == {"sense (probe=linear)", "sense (probe=knn)"}


def test_columns_name_a_probe_that_is_not_linear(tmp_path: Path) -> None:
    make_score(make_run(tmp_path), probe_settings={"probe": "finetune"})
    (column,) = columns_of(read_runs(tmp_path), ())
    assert column.name == "sense (probe=finetune)"


def test_collapsed_seeds_are_a_warning(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    details = {
        "seeds": [
            {"seed": seed, "dev": 0.5, "epochs": 3, "collapsed": seed == 1} for seed in range(3)
        ],
        "collapsed_seeds": [1],
    }
    make_score(folder, probe_settings={"probe": "finetune"}, details=details)
    (table,) = TableSet.from_records(read_runs(tmp_path)).tables
    assert any(
        "sense, token, seed 0: 1 of 3 fine-tuning seeds collapsed; the mean is over the others"
        in line
        for line in table.warnings
    )


def test_names_of_probes_are_checked() -> None:
    assert read_probes("linear, knn,linear") == ("linear", "knn")
    for text in ("", "deep", "linear,deep"):
        with pytest.raises(BenchError, match="is none of linear, mlp, knn, finetune"):
            read_probes(text)
