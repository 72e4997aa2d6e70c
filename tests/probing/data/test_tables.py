from __future__ import annotations

from typing import ClassVar

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.probing.data.datasets import Table
from bench.probing.data.tables import Tabled, TabledSpans, TabledWordPairs
from bench.probing.families.classification import TextClassification
from bench.probing.task import DataRoot
from bench.registry import Registry

TEXTS = {"train": ["Aa", "Bb", "Cc"], "dev": ["Dd", "Ee"]}


class Shouted(Tabled, TextClassification):
    """Everything in capitals, which the table does not give."""

    table: ClassVar[Table] = Table("toy", {"t": "text", "label": "label"}, None, tests=("dev",))

    def reshaped(self, frame):
        return frame.assign(text=frame["text"].str.upper())


@pytest.fixture
def data(tmp_path):
    (tmp_path / "toy").mkdir()
    for split, texts in TEXTS.items():
        frame = pd.DataFrame({"t": texts, "label": range(len(texts))})
        frame.to_parquet(tmp_path / "toy" / f"{split}.parquet")
    return DataRoot(tmp_path)


def test_a_table_is_required_and_both_splits_are_reshaped_before_they_are_fingerprinted(data):
    task = Shouted()
    task.require(data)
    found = task.load(data)
    assert (found.train["text"].tolist(), found.test["text"].tolist()) == (
        ["AA", "BB", "CC"],
        ["DD", "EE"],
    )
    assert found.sha256 != task.table.splits(data).sha256
    assert len(task.load(DataRoot(data.folder, limit=1)).train) == 1
    (data.folder / "toy" / "train.parquet").unlink()
    with pytest.raises(BenchError, match="no train split of toy"):
        task.require(data)


def test_what_has_nothing_to_fit_on_needs_its_test_alone(data):
    class Asked(Shouted):
        table: ClassVar[Table] = Table("toy", {"t": "text"}, None, tests=("dev",), has_train=False)

    (data.folder / "toy" / "train.parquet").unlink()
    task = Asked()
    task.require(data)
    found = task.load(data)
    assert (len(found.train), found.test["text"].tolist()) == (0, ["DD", "EE"])
    assert list(found.train.columns) == list(found.test.columns) == ["text"]
    (data.folder / "toy" / "dev.parquet").unlink()
    with pytest.raises(BenchError, match="no dev split of toy"):
        task.require(data)


def test_numbers_of_tags_are_counted_by_kind():
    class Names(TabledSpans):
        kinds = ("PER", "ORG")

    found = Names().reshaped(pd.DataFrame({"words": [[*"abcde"]], "labels": [[0, 1, 2, 3, 4]]}))
    assert found["labels"][0] == ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]


def test_words_are_found_in_the_text_they_are_of():
    class Words(TabledWordPairs):
        places = (("a", "b"), ("c", "d"))

        def span(self, text, first, second):
            return text.index(first), text.index(second) + len(second)

    one = {"text": ["red or blue"], "label": [0], "a": ["red"], "b": ["or"], "c": "blue", "d": "ue"}
    found = Words().reshaped(pd.DataFrame(one))
    assert list(found.columns) == ["text", "text_pair", "label", "span", "span_pair"]
    assert (found["span"][0], found["span_pair"][0]) == ((0, 6), (7, 11))
    assert found["text_pair"].tolist() == ["red or blue"]
    found = Words().reshaped(pd.DataFrame(one | {"text_pair": ["blue"]}))
    assert (found["span"][0], found["span_pair"][0]) == ((0, 6), (0, 4))


def test_the_hub_is_not_asked_for_the_test_split_that_squad_never_published(monkeypatch):
    asked = []
    rows = {"question": ["?"], "context": ["b a"]}
    rows |= {"answers": [{"text": ["a"], "answer_start": [2]}]}

    def read_hub(table, split):
        asked.append(split)
        return pd.DataFrame(rows)

    monkeypatch.setattr("bench.probing.data.datasets.read_hub", read_hub)
    found = Registry().of("task")["squad"]().load(DataRoot())
    assert asked == ["train", "validation"]
    assert found.test["answers"][0] == [{"text": "a", "start": 2}]
