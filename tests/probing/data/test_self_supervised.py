"""Self-supervised tasks: balanced, disjoint, and not solvable from the words alone."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench.corpus.store import StoreWriter
from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.data import self_supervised, sentence_tasks
from bench.probing.task import DataRoot, Splits
from bench.storage import write_manifest
from tests.helpers.registry import REGISTRY

TASKS = {name: task for name, task in REGISTRY.of("task").items() if "self" in task.suites}
NOISE = Noise(0, 0, torch.arange(1))
SYLLABLES = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru"]
WORDS = ["".join(pair) for pair in itertools.product(SYLLABLES, SYLLABLES, SYLLABLES)]


def documents(count: int, seed: int = 0) -> list[str]:
    """Texts of ten sentences in a language of 300 words, the first ones the most frequent."""
    chance = random.Random(seed)
    words = chance.sample(WORDS, 300)
    weights = [1 / (rank + 5) for rank in range(300)]
    texts = []
    for _ in range(count):
        lengths = [chance.randint(5, 14) for _ in range(10)]
        sentences = [" ".join(chance.choices(words, weights, k=n)).capitalize() for n in lengths]
        texts.append(". ".join(sentences) + ".")
    return texts


def prepared(folder: Path, texts: list[str]) -> DataRoot:
    """A prepared corpus that has only its held-out part."""
    folder.mkdir(exist_ok=True)
    tokenizer = char_tokenizer(iter(documents(100)), 300)
    tokenizer.save(folder / "tokenizer.json")
    (folder / "heldout").mkdir()
    with StoreWriter(folder / "heldout", tokenizer.vocabulary) as writer:
        for text, encoded in tokenizer.stream(texts):
            writer.add(text, encoded)
        writer.close()
    write_manifest(folder, ["tokenizer.json"], has_heldout=bool(texts), corpus="toy")
    return DataRoot(prepared=folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    return prepared(tmp_path_factory.mktemp("toy"), documents(300))


@pytest.fixture(scope="module")
def splits(data: DataRoot) -> dict[str, Splits]:
    return {name: task().load(data) for name, task in TASKS.items()}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_seven_tasks_are_usable_and_balanced(splits: dict[str, Splits]) -> None:
    assert len(splits) == 7
    for name, loaded in splits.items():
        task = TASKS[name]()
        task.check(loaded)
        assert len(loaded.test) >= 100
        if "label" not in loaded.test:
            continue
        for frame in (loaded.train, loaded.test):
            counts = frame["label"].value_counts()
            assert counts.max() - counts.min() <= 1, name
        assert task.chance_of(loaded) == pytest.approx(1 / frame["label"].nunique())


def test_documents_are_unchanged_and_in_one_part_only(data: DataRoot) -> None:
    parts = self_supervised.held_out_parts(data)
    texts = {" ".join(document) for part in parts.values() for document in part}
    assert texts == set(documents(300))
    assert not {*parts["train"]} & {*parts["test"]}
    total = sum(map(len, parts["test"])) / 3_000
    assert 0.3 < total < 0.4


def test_the_same_corpus_gives_the_same_examples(data: DataRoot, splits: dict[str, Splits]) -> None:
    self_supervised._documents.cache_clear()
    for name in ("self_odd_word_out", "self_missing_word"):
        assert TASKS[name]().load(data).sha256 == splits[name].sha256


def test_no_sentence_is_in_both_splits(splits: dict[str, Splits]) -> None:
    for name in ("self_bigram_shift", "self_sentence_length", "self_next_sentence"):
        bags = [
            {tuple(sorted(words(text))) for text in frame["text"]}
            for frame in (splits[name].train, splits[name].test)
        ]
        assert not bags[0] & bags[1]


def original(data: DataRoot) -> set[str]:
    return {
        one
        for part in self_supervised.held_out_parts(data).values()
        for document in part
        for one in document
    }


def test_two_neighbouring_words_change_places(data: DataRoot, splits: dict[str, Splits]) -> None:
    known = {tuple(sorted(words(one))): one for one in original(data)}
    for text, label in splits["self_bigram_shift"].test.itertuples(index=False):
        before = known[tuple(sorted(words(text)))]
        moved = [
            i for i, (a, b) in enumerate(zip(words(before), words(text), strict=True)) if a != b
        ]
        assert (label == "kept") == (not moved)
        if moved:
            assert moved[0] > 0
            assert moved[1] == moved[0] + 1


def test_one_word_is_replaced_and_the_class_keeps_its_words(
    data: DataRoot, splits: dict[str, Splits]
) -> None:
    known = original(data)
    frame = splits["self_odd_word_out"].train
    for text, label in frame.itertuples(index=False):
        assert (label == "kept") == (text in known)
    ring = sentence_tasks.replace_one(self_supervised.held_out_parts(data)["train"], "train")
    replaced = Counter(itertools.chain.from_iterable(words(t) for t, lab in ring if lab != "kept"))
    kept = Counter(itertools.chain.from_iterable(words(t) for t, lab in ring if lab == "kept"))
    common = [word for word, _ in kept.most_common(100)]
    apart = [
        abs(replaced[word] - kept[word]) / (kept[word] + replaced[word]) ** 0.5 for word in common
    ]
    assert sum(value > 2 for value in apart) < 12  # 5 of 100 by chance alone


def test_pairs_of_sentences_occur_in_the_corpus_according_to_their_labels(
    data: DataRoot, splits: dict[str, Splits]
) -> None:
    texts = documents(300)
    whole = "\n".join(texts)
    for text, label in splits["self_sentence_order"].test[:60].itertuples(index=False):
        assert (text in whole) == (label == "kept")
    frame = splits["self_next_sentence"].test
    for text, other, label in frame[:60].itertuples(index=False):
        assert (f"{text} {other}" in whole) == (label == "next")
        assert label == "next" or not any(text in one and other in one for one in texts)


def test_each_sentence_has_one_class_word_and_each_place_a_hidden_word(
    splits: dict[str, Splits],
) -> None:
    frame = splits["self_word_content"].test
    classes = set(frame["label"])
    for text, label in frame.itertuples(index=False):
        assert classes & set(words(text)) == {label}
    test = splits["self_missing_word"].test
    hidden = [text[a:b] for text, a, b in test.itertuples(index=False)]
    assert len(set(hidden)) == 100
    assert max(Counter(hidden).values()) == 5
    assert all(word.isalpha() and word.islower() for word in hidden)


@pytest.mark.slow
def test_a_bag_of_words_is_at_chance_where_the_words_are_balanced(
    splits: dict[str, Splits],
) -> None:
    for name in ("self_bigram_shift", "self_odd_word_out", "self_sentence_order"):
        bag = TASKS[name]().baselines(splits[name], NOISE)["bag_of_words"]
        assert abs(bag.value - 0.5) < 3 * bag.stderr + 0.03, name
    bag = TASKS["self_word_content"]().baselines(splits["self_word_content"], NOISE)["bag_of_words"]
    assert bag.value > 0.8


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    bigram_shift = TASKS["self_bigram_shift"]()
    with pytest.raises(BenchError, match=r"gives \d+ examples to train on, but 200 are needed"):
        bigram_shift.load(prepared(tmp_path / "few", documents(20)))
    with pytest.raises(BenchError, match="gives 1 documents, but 2 are needed"):
        bigram_shift.load(prepared(tmp_path / "one", documents(1)))
    with pytest.raises(BenchError, match="of a prepared corpus, and none is given"):
        bigram_shift.load(DataRoot())
    path = tmp_path / "one" / "manifest.json"
    path.write_text(json.dumps({"has_heldout": False, "corpus": "book.txt"}))
    self_supervised._documents.cache_clear()
    with pytest.raises(BenchError, match=r"book\.txt is one document: nothing is held out"):
        bigram_shift.load(DataRoot(prepared=tmp_path / "one"))


def test_a_script_without_spaces_gives_too_few_words(tmp_path: Path) -> None:
    chance = random.Random(0)
    texts = [
        "".join(chance.choices("badefgiklmnoru", k=12))
        + "\u3002"
        + "".join(chance.choices("bade", k=9))
        for _ in range(300)
    ]
    with pytest.raises(BenchError, match="gives 0 examples to train on"):
        TASKS["self_bigram_shift"]().load(prepared(tmp_path / "han", texts))


def test_a_limit_cuts_the_splits(data: DataRoot) -> None:
    import dataclasses

    frames = TASKS["self_bigram_shift"]().load(dataclasses.replace(data, limit=50))
    assert (len(frames.train), len(frames.test)) == (50, 50)
    assert isinstance(frames.test, pd.DataFrame)


def test_sentences_around_an_excluded_one_are_not_consecutive(tmp_path: Path) -> None:
    text = "Bade bade. Fi\u2603go fi. Kula kula. Bani bani."
    data = prepared(tmp_path / "gap", [text, *documents(1)])
    (document,) = (
        d for part in self_supervised.held_out_parts(data).values() for d in part if len(d) == 4
    )
    assert document == ("Bade bade.", "", "Kula kula.", "Bani bani.")


def test_two_neighbouring_words_are_hidden_and_names_are_a_bucket() -> None:
    from bench.probing.data.sentence_tasks import hide_pairs, whole_sentences

    documents = [
        (f"We saw New York on day {'x' * (i + 1)} today.", "They met, after all: so it was.")
        for i in range(200)
    ]
    rows = hide_pairs(documents, "all")
    hidden = {text[start:end] for text, start, end, _ in rows}
    assert "New York" in hidden
    assert not any("," in pair or ":" in pair or pair.startswith(("We", "They")) for pair in hidden)
    assert {bucket for text, start, end, bucket in rows if text[start:end] == "New York"} == {
        "capitals"
    }
    assert {bucket for text, start, end, bucket in rows if text[start:end] == "saw New"} <= {
        "other"
    }
    assert rows == hide_pairs(documents, "all")
    assert {text for (text,) in whole_sentences(documents, "all")} == {r[0] for r in rows}
