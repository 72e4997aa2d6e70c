from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import time
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bench._layout import import_part
from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.data import datasets
from bench.probing.data.datasets import Table, as_splits, cut, fingerprint
from bench.probing.task import DataRoot
from tests.helpers.paths import ROOT, SHARED

TABLE = Table("glue/toy", {"sentence": "text", "label": "label"}, hub="someone/glue", config="toy")
NOISE = Noise(0, 0, torch.arange(1))
REAL = SHARED / "tasks"


def task(name, class_name):
    import_part("tasks")
    return getattr(importlib.import_module(f"bench.tasks.{name}"), class_name)()


@pytest.fixture
def folder(tmp_path):
    """A data root with a space and an umlaut in its path."""
    root = tmp_path / "my dätä"

    def write(name, split, columns):
        path = root / name / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_parquet(path)
        return path

    write("glue/toy", "train", {"sentence": ["a", "b"], "label": [0, 1], "idx": [0, 1]})
    return root, write


def test_a_table_has_the_columns_of_the_task_with_the_familys_names(folder):
    data = DataRoot(folder[0])
    TABLE.require(data, "train")
    assert list(TABLE.load(data, "train").columns) == ["text", "label"]


def test_a_table_may_have_another_folder_and_another_test_split(folder):
    root, write = folder
    table = dataclasses.replace(TABLE, name="toy", aliases=("glue/toy",), tests=("matched", "dev"))
    with pytest.raises(BenchError, match=r"no matched split of toy: looked for .*glue/toy"):
        table.require(DataRoot(root))
    write("glue/toy", "dev", {"sentence": ["c"], "label": [1]})
    table.require(DataRoot(root))
    assert table.splits(DataRoot(root)).test["text"].tolist() == ["c"]
    write("glue/toy", "dev", {"sentence": ["c"], "label": [-1]})
    with pytest.raises(BenchError, match="none of the splits matched, dev has labels"):
        table.pair(DataRoot(root))


def test_a_table_outside_the_hub_names_its_source():
    table = dataclasses.replace(TABLE, hub=None, source="it is at example.org")
    with pytest.raises(BenchError, match=r"not on the hub: it is at .*; then give --data"):
        table.require(DataRoot())


def test_tags_are_given_by_number_or_by_name():
    assert datasets.tags_by_name([1, 0], ["O", "B-x"]) == ["B-x", "O"]
    assert datasets.tags_by_name(["B-y"], ["O", "B-x"]) == ["B-y"]
    with pytest.raises(BenchError, match="below 2"):
        datasets.tags_by_name([2], ["O", "B-x"])


def test_the_message_about_a_missing_split_names_the_path(folder):
    data = DataRoot(folder[0])
    expected = r"no test split of glue/toy: looked for .*test\.parquet; .*\['train\.parquet'\]"
    with pytest.raises(BenchError, match=expected):
        TABLE.require(data, "train", "test")
    with pytest.raises(BenchError, match=expected):
        TABLE.load(data, "test")
    with pytest.raises(BenchError, match="no such folder"):
        TABLE.require(DataRoot(folder[0] / "elsewhere"), "train")


def test_a_missing_column_is_named(folder):
    root, write = folder
    path = write("glue/toy", "test", {"text": ["a"], "label": [0]})
    with pytest.raises(BenchError, match=r"it has \['text', 'label'\], but the") as caught:
        TABLE.load(DataRoot(root), "test")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("payload", [b"", b"PAR1 no parquet", b"\x80\x04."])
def test_a_file_that_is_not_parquet_is_refused(folder, payload):
    path = folder[0] / "glue/toy/test.parquet"
    path.write_bytes(payload)
    with pytest.raises(BenchError, match=r"test\.parquet cannot be read as parquet"):
        TABLE.load(DataRoot(folder[0]), "test")


def test_a_parquet_file_with_damaged_metadata_of_pandas_is_refused(folder):
    path = folder[0] / "glue/toy/test.parquet"
    table = pa.table({"text": ["a"], "label": [0]}).replace_schema_metadata({"pandas": b"\xbb{"})
    pq.write_table(table, path)
    with pytest.raises(BenchError, match=r"test\.parquet cannot be read as parquet"):
        TABLE.load(DataRoot(folder[0]), "test")


def test_a_limit_selects_nested_rows_in_order():
    frame = pd.DataFrame({"text": range(1_000)})
    few, more = (cut(frame, limit, "train")["text"].tolist() for limit in (50, 200))
    assert len(few) == 50
    assert set(few) < set(more)
    assert more == sorted(more)
    assert abs(sum(more) / 200 - 499.5) < 90  # from everywhere, not the head
    assert few != cut(frame, 50, "test")["text"].tolist()
    assert cut(frame, 1_000, "train")["text"].tolist() == list(range(1_000))


def test_the_fingerprint_depends_on_the_content_alone(folder, tmp_path):
    frame = pd.DataFrame({"words": [["a", "b"], ["c"]], "labels": [["X", None], ["Y"]]})
    frame.to_parquet(tmp_path / "x.parquet")
    stored = datasets.read_parquet(tmp_path / "x.parquet")  # lists come back as arrays
    assert fingerprint(stored) == fingerprint(frame) == fingerprint(frame[["labels", "words"]])
    answers = [{"text": ["a"], "answer_start": [1]}]
    assert fingerprint(pd.DataFrame({"answers": answers})) == fingerprint(
        pd.DataFrame({"answers": [{"answer_start": np.array([1]), "text": np.array(["a"])}]})
    )
    changed = pd.DataFrame({"words": [["a", "b"], ["c"]], "labels": [["X", None], ["Z"]]})
    assert fingerprint(changed) != fingerprint(frame)
    assert fingerprint(frame, changed) != fingerprint(changed, frame)
    cut = as_splits(frame, frame, DataRoot(limit=1))
    assert cut.sha256 != as_splits(frame, frame, DataRoot()).sha256


def test_without_the_extra_the_message_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr(datasets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"objective-bench\[hf\].*--data DIR"):
        TABLE.require(DataRoot(), "train")


def fake_hub(monkeypatch, frame, features):
    request = {}

    def load_dataset(path, **arguments):
        request.update(arguments, path=path)
        if frame is None:
            raise FileNotFoundError("no such file on the hub")
        return types.SimpleNamespace(to_pandas=frame.copy, features=features)

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(datasets.importlib.util, "find_spec", lambda name: module)
    return request


def test_offline_the_hub_fails_at_once_with_the_way_out(monkeypatch):
    fake_hub(monkeypatch, None, {})

    def blocked(*arguments, **options):
        raise OSError("network is unreachable")

    monkeypatch.setattr("socket.create_connection", blocked)
    started = time.monotonic()
    with pytest.raises(BenchError, match=r"glue/toy needs the network.*--data DIR"):
        TABLE.load(DataRoot(), "train")
    assert time.monotonic() - started < 1


def test_the_hub_is_read_as_parquet_with_tags_by_name(monkeypatch):
    monkeypatch.setattr(datasets, "require_hub", lambda table: None)
    tags = types.SimpleNamespace(feature=types.SimpleNamespace(names=["NOUN", "_", "VERB"]))
    frame = pd.DataFrame({"tokens": [["go", "it"]] * 12, "upos": [[2, 1], [0, 0]] * 6})
    request = fake_hub(monkeypatch, frame, {"tokens": object(), "upos": tags})
    loaded = task("upos", "UniversalPartOfSpeech").load(DataRoot())
    assert request["path"] == "universal-dependencies/universal_dependencies"
    assert request["data_files"] == {"train": "en_ewt/train/*.parquet"}  # read last
    assert request["revision"] == "refs/convert/parquet"
    assert loaded.test["labels"][0] == ["VERB", None]
    assert loaded.test["words"][0] == ["go", "it"]


def test_the_error_of_the_hub_is_passed_on(monkeypatch):
    monkeypatch.setattr(datasets, "require_hub", lambda table: None)
    fake_hub(monkeypatch, None, {})
    with pytest.raises(BenchError, match=r"someone/glue \(toy, train\).*no such file on the hub"):
        TABLE.load(DataRoot(), "train")


def test_sst2_uses_the_split_with_labels(folder):
    root, write = folder
    sentences = {split: [f"{split} {i}" for i in range(20)] for split in ("train", "validation")}
    for split, texts in sentences.items():
        write("glue/sst2", split, {"sentence": texts, "label": [0, 1] * 10})
    sst2 = task("sst2", "SST2")
    sst2.require(DataRoot(root))
    assert sst2.load(DataRoot(root)).test["text"][0] == "validation 0"
    write("glue/sst2", "test", {"sentence": ["test 0", "test 1"], "label": [-1, -1]})
    assert sst2.load(DataRoot(root)).test["text"][0] == "validation 0"
    write("glue/sst2", "test", {"sentence": ["test 0", "test 1"], "label": [0, 1]})
    assert sst2.load(DataRoot(root)).test["text"][0] == "test 0"
    assert len(sst2.load(DataRoot(root, limit=5)).train) == 5


def test_blimp_has_equally_many_pairs_of_each_phenomenon(folder):
    root, write = folder
    numbers = range(67 * 30)
    write(
        "blimp",
        "train",
        {
            "sentence_good": [f"good {i}" for i in numbers],
            "sentence_bad": [f"bad {i}" for i in numbers],
            "field": [("syntax", "syntax/semantics")[i % 2] for i in numbers],
            "UID": [f"uid {i // 30}" for i in numbers],
        },
    )
    blimp = task("blimp", "BLiMP")
    blimp.require(DataRoot(root))
    loaded = blimp.load(DataRoot(root))
    assert loaded.test["UID"].value_counts().tolist() == [20] * 67
    assert set(loaded.test["bucket"]) == {"syntax", "syntax_semantics"}
    assert loaded.test["bad"][0] == "bad 0"
    blimp.check(loaded)
    few = blimp.load(DataRoot(root, limit=70)).test
    assert len(few) == 70
    assert few["UID"].nunique() == 67


def test_listing_tasks_and_requiring_their_data_loads_nothing_heavy(folder):
    code = f"""
import importlib, pathlib, sys
from bench._layout import import_part
from bench.probing.task import DataRoot
import_part("tasks")
task = importlib.import_module("bench.tasks.upos").UniversalPartOfSpeech()
importlib.import_module("bench.tasks.sst2"), importlib.import_module("bench.tasks.blimp")
try:
    task.require(DataRoot(pathlib.Path({str(folder[0])!r})))
except Exception as error:
    assert "no train split" in str(error), error
assert not {{"torch", "pandas", "sklearn", "pyarrow"}} & set(sys.modules)
"""
    root = ROOT
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the labelled data in ../shared/data")
def test_sst2_bag_of_words_is_as_published_with_the_data():
    sst2 = task("sst2", "SST2")
    loaded = sst2.load(DataRoot(REAL))
    baselines = sst2.baselines(loaded, NOISE)
    assert baselines["bag_of_words"].value == pytest.approx(0.8446, abs=0.004)
    assert baselines["majority"].value == pytest.approx(0.501, abs=0.003)
    leak = baselines["bag_of_words"].details["leak"]["share"]
    assert leak * len(loaded.test) == pytest.approx(2)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the labelled data in ../shared/data")
def test_upos_baselines_on_the_real_data():
    upos = task("upos", "UniversalPartOfSpeech")
    baselines = upos.baselines(upos.load(DataRoot(REAL)), NOISE)
    assert baselines["majority"].value == pytest.approx(upos.chance, abs=0.001)
    assert baselines["bag_of_words"].value == pytest.approx(0.862, abs=0.01)
    assert baselines["window_of_words"].value > baselines["bag_of_words"].value + 0.02
