"""`--init` and `--encoder` as an experiment reads them; a run of bench needs no transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import BenchError
from bench.experiment import resolve
from bench.experiment.experiment import Experiment
from bench.plan import make_plan, render
from bench.reporting.directions import read_directions, verify
from bench.storage import write_manifest
from tests.helpers.registry import REGISTRY


@pytest.fixture
def run(results: Path) -> Path:
    return next((results / "runs").glob("token-*"))


def resolved(init: Any, **options: Any) -> Experiment:
    return resolve("span", REGISTRY, tasks="none", init=init, device="cpu", **options)


@pytest.mark.slow
def test_a_run_brings_tokenizer_shape_and_the_learning_rate_of_continuing(
    run: Path, results: Path
) -> None:
    experiment = resolved(run)
    spec = json.loads((run / "run.json").read_text())["spec"]
    assert experiment.tokenizer == str(run / "tokenizer.json")
    assert experiment.shape.hidden_size == spec["encoder"]["hidden_size"]
    assert experiment.training.warmup == 0.06
    # 1e-4 x 768 / 64 x (8 x 64 / 131,072) ** (1 / 4)
    assert experiment.training.learning_rate == 3e-4
    by_id = resolve("span", REGISTRY, tasks="none", init=run.name[:14], records=results)
    assert by_id.init == experiment.init
    text = render(make_plan(experiment, results))
    assert f"continues   {run.name}" in text
    assert "Gururangan et al. 2020" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "mini"}, "--size mini contradicts --init"),
        ({"tokenizer": "char"}, "--tokenizer contradicts --init"),
        ({"ladder": "tiny,mini"}, "--ladder contradicts --init"),
        ({"settings": ["encoder.num_layers=2"]}, "encoder.num_layers contradicts --init"),
        ({"settings": ["encoder.max_length=128"]}, "max_length 128 contradicts --init"),
        ({"settings": ["training.batch_tokens=32"]}, "smaller than one row"),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused(
    options: dict[str, Any], words: str, run: Path
) -> None:
    with pytest.raises(BenchError, match=words):
        resolved(run, **options)


def test_settings_that_fit_the_checkpoint_are_accepted(run: Path) -> None:
    experiment = resolved(
        run, settings=["encoder.max_length=32", "training.learning_rate=1e-3", "span.rate=0.3"]
    )
    assert experiment.shape.max_length == 32
    assert experiment.training.batch_tokens == 256
    assert experiment.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ("nothing-at-all", "no such folder, and no run named .*hf:nothing-at-all"),
        ("./nothing", "no checkpoint"),
        ("someone/model", "did you mean hf:someone/model"),
        ("hf:two words", "names no model"),
        ("", "give a folder"),
    ],
)
def test_what_is_no_checkpoint_is_refused(init: str, words: str, results: Path) -> None:
    with pytest.raises(BenchError, match=words):
        resolved(init, records=results)


def test_a_folder_without_a_known_architecture_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(BenchError, match=r"no config\.json"):
        resolved(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {}}')
    with pytest.raises(BenchError, match=r"no tokenizer\.json"):
        resolved(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((run / "tokenizer.json").read_bytes())
    with pytest.raises(BenchError, match=r"architecture .mine.; .*never run"):
        resolved(tmp_path)


def test_forget_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="give --init with it"):
        resolved(None, forget=tmp_path)


@pytest.mark.slow
def test_the_untouched_checkpoint_and_a_public_encoder_are_rows(
    run: Path, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "second.txt").write_text("\n".join(f"the old gate number {i}" for i in range(400)))
    comparison = bench.run(
        "token", init=run, encoder=[run], forget=tmp_path / "second.txt", budget="8k", seeds=2,
        tasks="agreement", limit=100, device="cpu", out=tmp_path / "out", progress=False,
    )  # fmt: skip
    (table,) = comparison.tables
    assert "continues" in table.title
    assert table.difference_to == "not continued"
    rows = {row.name: row for row in table.rows}
    control = next(row for row in table.rows if row.is_public)
    assert control.name.startswith(run.name)
    assert not control.is_floor
    assert len(rows["not continued"].runs) == 1
    (column,) = {one.task for one in table.columns}
    frame = comparison.table(column)
    assert frame.loc["not continued", "mean"].tolist() == frame.loc[control.name, "mean"].tolist()
    gain = comparison.difference("token", "not continued")
    assert (gain["seeds"] == 2).all()
    text = comparison.to_text()
    assert " -> " in text
    assert "ONE SEED" not in text
    assert "(n=0)" not in text
    found = {one.direction.claim: one.missing for one in verify(comparison, read_directions())}
    assert found["an untrained encoder is below every trained one"] == "the runs"
    about = "continuing a checkpoint on text of the tasks' domain is above not continuing it"
    assert found[about] == "the runs"  # none of these short ones has learned
    again = bench.compare(out=tmp_path / "out", baseline="untrained")
    assert again.tables[0].difference_to == "not continued"


def test_the_beginning_of_an_id_stays_one_run(run: Path, tmp_path: Path) -> None:
    """Its continuation has an id that begins alike; commands name the whole id."""
    shutil.copytree(run.parents[1], tmp_path / "out")
    first = resolve("span", REGISTRY, tasks="none", init="token", records=tmp_path / "out")
    assert dict(first.options)["--init"] == run.name
    other = tmp_path / "out" / "runs" / f"{run.name[:-8]}00000000"
    shutil.copytree(run, other)
    record = json.loads((run / "run.json").read_text()) | {"id": other.name}
    (other / "run.json").write_text(json.dumps(record | {"init": {"name": run.name}}))
    write_manifest(other, [path.name for path in run.iterdir() if path.is_file()])
    again = resolve("span", REGISTRY, tasks="none", init="token", records=tmp_path / "out")
    assert again.init is not None
    assert again.init.name == run.name


@pytest.mark.slow
def test_a_causal_run_is_scored_as_it_was_trained(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "budget": "20k", "seeds": 1, "tasks": "agreement", "limit": 100, "device": "cpu",
        "out": tmp_path, "progress": False,
    }  # fmt: skip
    bench.run("causal", **options)
    (source,) = (tmp_path / "runs").glob("causal-*")
    found = bench.run("token", init=source, encoder=[source], **options)
    (table,) = found.tables
    (public,) = (row.name for row in table.rows if row.is_public)
    assert public.endswith(", causal)")  # not the name of scores as a masked encoder
    (own,) = (t for t in bench.compare(out=tmp_path).tables if "continues nothing" in t.title)
    for column in table.columns:
        expected = own.cells["causal", column.name].interval
        for name in ("not continued", public):
            interval = table.cells[name, column.name].interval
            assert expected is not None
            assert interval is not None
            assert interval.mean == expected.mean, name
