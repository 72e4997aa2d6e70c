from __future__ import annotations

from typing import ClassVar

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.probing.data.datasets import Table
from bench.probing.data.tables import SpanTable, TableTask, WordPairTable
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot
from bench.registry import Registry

TEXTS = {"train": ["Aa", "Bb", "Cc"], "dev": ["Dd", "Ee"]}


class Shouted(TableTask, TextClassification):
    """All texts in capitals, unlike in the table."""

    table: ClassVar[Table] = Table("toy", {"t": "text", "label": "label"}, None, tests=("dev",))

    def reshape(self, frame):
        return frame.assign(text=frame["text"].str.upper())


@pytest.fixture
def data(tmp_path):
    (tmp_path / "toy").mkdir()
    for split, texts in TEXTS.items():
        frame = pd.DataFrame({"t": texts, "label": range(len(texts))})
        frame.to_parquet(tmp_path / "toy" / f"{split}.parquet")
    return DataRoot(tmp_path)


def test_both_splits_are_reshaped_before_they_are_fingerprinted(data):
    task = Shouted()
    task.require(data)
    result = task.load(data)
    assert (result.train["text"].tolist(), result.test["text"].tolist()) == (
        ["AA", "BB", "CC"],
        ["DD", "EE"],
    )
    assert result.sha256 != task.table.splits(data).sha256
    assert len(task.load(DataRoot(data.folder, limit=1)).train) == 1
    (data.folder / "toy" / "train.parquet").unlink()
    with pytest.raises(BenchError, match="no train split of toy"):
        task.require(data)


def test_a_task_without_train_needs_the_test_split_alone(data):
    class TestOnly(Shouted):
        table: ClassVar[Table] = Table("toy", {"t": "text"}, None, tests=("dev",), has_train=False)

    (data.folder / "toy" / "train.parquet").unlink()
    task = TestOnly()
    task.require(data)
    result = task.load(data)
    assert (len(result.train), result.test["text"].tolist()) == (0, ["DD", "EE"])
    assert list(result.train.columns) == list(result.test.columns) == ["text"]
    (data.folder / "toy" / "dev.parquet").unlink()
    with pytest.raises(BenchError, match="no dev split of toy"):
        task.require(data)


def test_the_number_of_a_tag_follows_the_order_of_kinds():
    class Names(SpanTable):
        kinds = ("PER", "ORG")

    result = Names().reshape(pd.DataFrame({"words": [[*"abcde"]], "labels": [[0, 1, 2, 3, 4]]}))
    assert result["labels"][0] == ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]


def test_each_word_has_a_range_in_its_own_text():
    class Words(WordPairTable):
        places = (("a", "b"), ("c", "d"))

        def span(self, text, first, second):
            return text.index(first), text.index(second) + len(second)

    one = {"text": ["red or blue"], "label": [0], "a": ["red"], "b": ["or"], "c": "blue", "d": "ue"}
    result = Words().reshape(pd.DataFrame(one))
    assert list(result.columns) == ["text", "text_pair", "label", "span", "span_pair"]
    assert (result["span"][0], result["span_pair"][0]) == ((0, 6), (7, 11))
    assert result["text_pair"].tolist() == ["red or blue"]
    result = Words().reshape(pd.DataFrame(one | {"text_pair": ["blue"]}))
    assert (result["span"][0], result["span_pair"][0]) == ((0, 6), (0, 4))


def test_squad_never_requests_an_unpublished_test_split_from_the_hub(monkeypatch):
    requests = []
    rows = {"question": ["?"], "context": ["b a"]}
    rows |= {"answers": [{"text": ["a"], "answer_start": [2]}]}

    def read_hub(table, split):
        requests.append(split)
        return pd.DataFrame(rows)

    monkeypatch.setattr("bench.probing.data.datasets.read_hub", read_hub)
    result = Registry().of("task")["squad"]().load(DataRoot())
    assert requests == ["train", "validation"]
    assert result.test["answers"][0] == [{"text": "a", "start": 2}]
