"""Overlap of a test split, against a slow search; its cache and its place in a comparison."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.corpus.preparation import PreparedCorpus
from bench.probing import overlap
from bench.probing.overlap import (
    corpus_overlap,
    gram_hashes,
    shares_words,
    texts_of,
    with_overlap,
)
from bench.probing.task import Score, Splits
from bench.probing.validation import leak_mask
from bench.records.scores import read_baselines
from bench.records.store import read_runs
from bench.reporting.long_form import long_form
from bench.reporting.table_set import TableSet
from tests.records.test_store import make_run, make_score
from tests.reporting.test_text import answers


def slow(train: list[str], test: list[str]) -> list[bool]:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + 13]) for i in range(len(words) - 12)}

    known = set().union(*(grams(text) for text in train))
    return [bool(grams(text) & known) for text in test]


def test_shared_words_agree_with_a_slow_search() -> None:
    generator = np.random.default_rng(0)
    train = [" ".join(map(str, generator.integers(0, 50, 40))) for _ in range(60)]
    fresh = [" ".join(map(str, generator.integers(0, 50, 30))) for _ in range(30)]
    lengths = [12, 13, 20] * 10
    cuts = [" ".join(train[i].split()[i // 2 :][: lengths[i]]) for i in range(30)]
    test = [*fresh, *cuts, "", "one two"]
    result = shares_words(train, test)
    assert result.tolist() == slow(train, test)
    assert result.sum() == 20
    assert not shares_words([], test).any()
    assert shares_words(train, []).shape == (0,)


def test_no_gram_spans_two_texts() -> None:
    words = [f"w{i}" for i in range(26)]
    assert not shares_words([" ".join(words)], [" ".join(words[:7]), " ".join(words[7:14])]).any()
    assert not shares_words([" ".join(words[:7]), " ".join(words[7:14])], [" ".join(words)]).any()


def test_case_and_punctuation_do_not_hide_an_overlap() -> None:
    text = "the quick brown fox jumps over the lazy dog and runs far away"
    assert shares_words([text], [f'"{text.upper()}!", he said']).tolist() == [True]


def test_a_leak_is_a_copy_or_shared_words() -> None:
    long = " ".join(f"w{i}" for i in range(20))
    test = ["short copy", f"but {long}", "short copies", "new"]
    assert leak_mask(["short copy", long], test).tolist() == [True, True, False, False]


def test_hashes_depend_on_ids_and_their_order_alone() -> None:
    ids = np.arange(40)
    assert len(gram_hashes(ids)) == 28
    assert len(set(gram_hashes(np.zeros(40, dtype=np.int32)).tolist())) == 1
    assert set(gram_hashes(ids)) & set(gram_hashes(np.arange(5, 25))) == set(gram_hashes(ids[5:25]))
    assert not set(gram_hashes(ids)) & set(gram_hashes(ids[::-1]))
    assert gram_hashes(ids[:12]).shape == (0,)


def test_all_texts_of_an_example() -> None:
    pairs = pd.DataFrame({"text": ["a"], "text_pair": ["b"], "label": [1]})
    assert texts_of(pairs) == [["a", "b"]]
    assert texts_of(pd.DataFrame({"words": [["a", "b"]], "labels": [["X", "Y"]]})) == [["a b"]]
    assert texts_of(pd.DataFrame({"odd": [1, 2]})) == [[], []]


@pytest.fixture
def splits(corpus: PreparedCorpus) -> Splits:
    """Pieces of the training text, of the held-out text, a short one, and new words."""

    def text(store, begin: int, count: int) -> str:
        return corpus.tokenizer.decode(store.tokens[begin : begin + count]).strip()

    first = int(corpus.train.documents[7])
    seen = [text(corpus.train, first, int(corpus.train.documents[8]) - first - 1)]
    last = int(corpus.train.documents[-2])
    seen.append(text(corpus.train, last, int(corpus.train.documents[-1]) - last - 1))
    texts = [*seen, "was", "zebra xylophone quartz vortex jumble fjord waltz nymph glyph sphinx"]
    return Splits(pd.DataFrame({"text": []}), pd.DataFrame({"text": texts}), "a" * 64)


def test_the_corpus_is_searched_once_and_the_result_is_cached(
    corpus: PreparedCorpus, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "PIECE_TOKENS", 1_000)  # several pieces, grams across their ends
    search = overlap._Search(corpus.folder, splits)
    overlap._search(corpus.folder, [search])
    result = search.overlap()
    assert result.seen.tolist() == [True, True, False, False]
    assert result.checked.tolist() == [True, True, False, True]
    again = corpus_overlap(corpus.folder, splits)
    assert again.seen.tolist() == result.seen.tolist()
    monkeypatch.setattr(overlap, "_search", None)  # a second search would fail
    third = corpus_overlap(corpus.folder, splits)
    assert (third.seen.tolist(), third.checked.tolist()) == (
        result.seen.tolist(), result.checked.tolist(),
    )  # fmt: skip


def test_one_pass_serves_all_tasks(
    corpus: PreparedCorpus, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [splits.test, splits.test[::-1].reset_index(drop=True), splits.test[2:3]]
    frames.append(pd.DataFrame({"text": ["w" + " w" * 30, *splits.test["text"][:1]]}))
    tasks = [Splits(splits.train, one, f"{i}" * 64) for i, one in enumerate(frames)]
    alone = []
    for task in tasks:
        search = overlap._Search(corpus.folder, task)
        overlap._search(corpus.folder, [search])
        alone.append(search.overlap())
    passes: list[int] = []
    pieces = overlap._pieces
    monkeypatch.setattr(overlap, "_pieces", lambda folder: passes.append(1) or pieces(folder))
    together = [corpus_overlap(corpus.folder, task, lambda: tasks) for task in tasks]
    assert len(passes) == 1
    for one, other in zip(alone, together, strict=True):
        assert one.seen.tolist() == other.seen.tolist()
        assert one.checked.tolist() == other.checked.tolist()
    assert [one.seen.any() for one in alone] == [True, True, False, True]


def test_no_gram_between_two_pieces_is_lost(
    corpus: PreparedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = np.asarray(corpus.train.tokens[:300])
    whole = set(gram_hashes(tokens))
    monkeypatch.setattr(overlap, "PIECE_TOKENS", 7)
    pieces = [set(gram_hashes(piece)) for piece in overlap._pieces(corpus.folder)]
    assert whole <= set().union(*pieces)


def test_a_cache_that_cannot_be_written(
    corpus: PreparedCorpus, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(overlap, "exclusive", refuse)
    assert corpus_overlap(corpus.folder, splits).seen.tolist() == [True, True, False, False]


def test_the_details_have_the_score_on_the_other_examples() -> None:
    result = overlap.Overlap(np.array([True, False, False, True]), np.array([True] * 3 + [False]))
    outcomes = pd.DataFrame({"example": [0, 1, 2], "outcome": [1.0, 0.0, 1.0]})
    score = with_overlap(Score(2 / 3, 0.1, outcomes, details={"layer": 1}), result)
    details = score.details["corpus_overlap"]
    assert details == {"share": pytest.approx(1 / 3), "too_short_to_tell": 0.0, "clean_value": 0.5}
    assert score.details["layer"] == 1
    ratio = outcomes.assign(numerator=[1.0, 1.0, 2.0], denominator=[1.0, 2.0, 2.0])
    score = with_overlap(dataclasses.replace(score, outcomes=ratio), result)
    assert score.details["corpus_overlap"]["clean_value"] == 0.75
    for odd in (outcomes.drop(columns="example"), outcomes.assign(example=["a", "b", "c"])):
        assert "corpus_overlap" not in with_overlap(Score(0.5, 0.1, odd), result).details


def test_a_damaged_cache_is_searched_again(
    corpus: PreparedCorpus, splits: Splits, tmp_path: Path
) -> None:
    other = dataclasses.replace(splits, sha256="b" * 64)
    corpus_overlap(corpus.folder, other)
    for path in (corpus.folder.parent.parent / "overlaps").glob("*.json"):
        path.write_text('{"seen": [99]}')
    assert corpus_overlap(corpus.folder, other).seen.tolist() == [True, True, False, False]


def test_a_comparison_reports_the_overlap(tmp_path: Path) -> None:
    for objective, share in (("token", 0.02), ("span", 0.04)):
        for seed in range(3):
            details = {"leak": {"share": 0.001, "clean_value": 0.6}}
            details["corpus_overlap"] = {"share": share, "clean_value": 0.5 + seed / 10}
            folder = make_run(tmp_path, objective, seed)
            make_score(folder, "sense", answers(0.6, "sense", objective, seed), details=details)
    make_score(tmp_path, "sense", baseline="majority", details=details)
    compared = TableSet.from_records(read_runs(tmp_path), read_baselines(tmp_path))
    (majority,) = [row for row in long_form(compared) if row["display_name"] == "majority"]
    assert majority["corpus_overlap"] is None, "it may have been made beside another corpus"
    assert majority["train_overlap"] == 0.001
    (row,) = [row for row in long_form(compared) if row["display_name"] == "span"]
    assert (row["train_overlap"], row["train_overlap_clean_mean"]) == (0.001, 0.6)
    assert (row["corpus_overlap"], row["corpus_overlap_clean_mean"]) == (0.04, 0.6)
    (note,) = [note for note in compared.tables[0].notes if "overlap" in note]
    assert note.startswith(
        "sense: 4.0% of the test examples overlap with the corpus; scores on the other examples: "
    )
    assert "span 60.0" in note


@pytest.mark.parametrize(
    ("clean", "ending"),
    [
        (0.75, "no score changes on the other examples"),
        (0.5, "on the other examples the score of token_0 changes most: 50.0 instead of 75.0"),
    ],
)
def test_a_note_names_the_objective_that_changes_most(
    clean: float, ending: str, tmp_path: Path
) -> None:
    for number in range(5):
        details = {"corpus_overlap": {"share": 0.04, "clean_value": 0.75 if number else clean}}
        folder = make_run(tmp_path, f"token_{number}")
        make_score(folder, "sense", [1.0, 0.0, 1.0, 1.0], details=details)
    notes = TableSet.from_records(read_runs(tmp_path)).tables[0].notes
    (note,) = [note for note in notes if "overlap" in note]
    assert note.endswith(f"; {ending}")
