"""Faults that people's files of tagged words have, in every form that lists are written in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.errors import BenchError
from tests.probing.data.test_cases_labels import NOUNS, baseline, jsonl, load, notes, write

LISTS = {
    "python": str,
    "json": json.dumps,
    "numpy": lambda items: str(np.array(items)),
    "numpy repr": lambda items: repr(np.array(items, dtype=object)),
    "tuple": lambda items: str(tuple(items)),
    "spaces": " ".join,
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_that_were_written_as_text(form: str, tmp_path: Path) -> None:
    """Case 05: `to_csv` writes a list as text."""
    rows = [
        {"words": LISTS[form](["the", NOUNS[i % 6], "'s", "won't"]),
         "labels": LISTS[form](["O", "B-X", "I-X", "O"])} for i in range(60)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    splits = load(f"tag:{tmp_path / 'a.csv'}")[1]
    assert splits.metric == "span_f1"
    assert splits.train["words"][0][0] == "the"
    assert splits.train["words"][0][2:] == ["'s", "won't"]
    assert splits.train["labels"][0] == ["O", "B-X", "I-X", "O"]


def test_damaged_lists_are_refused(tmp_path: Path) -> None:
    rows = [{"words": "['a', 'b']", "labels": "['x', 'y']"} for i in range(60)]
    rows[6]["words"] = "['a', ... 'b']"
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        BenchError, match=r"row 7: words must be a list, .* cannot be read as a list"
    ):
        load(f"tag:{tmp_path / 'a.csv'}")


@pytest.mark.parametrize("ignored", [-100, "-100", -100.0, None])
def test_words_that_are_not_asked_for(ignored: object, tmp_path: Path) -> None:
    """Case 06: -100 is no class."""
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"words": ["the", "old", NOUNS[i % 6]], "labels": [ignored, 1, 2 - i % 2]},
    )
    splits = load(f"tag:{path},split=split")[1]
    assert splits.train["labels"][0] == [None, "1", "2"]


def test_a_word_without_a_label_does_not_divide_a_span() -> None:
    from bench.probing.data.label_files.schemes import to_iob2
    from bench.probing.metrics import bio_spans

    assert to_iob2(["B-X", None, "I-X", "E-X", None]) == ["B-X", None, "I-X", "I-X", None]
    assert bio_spans(["B-X", None, "I-X", "O"]) == {("X", 0, 3)}


def test_an_empty_word_is_refused(tmp_path: Path) -> None:
    for word in (None, "", " "):
        path = jsonl(tmp_path / "a.jsonl", lambda i: {"words": ["a", word], "labels": ["x", "y"]})  # noqa: B023
        with pytest.raises(BenchError, match="row 1: word 2 is empty"):
            load(f"tag:{path},split=split")
    path = jsonl(
        tmp_path / "a.jsonl", lambda i: {"words": "10\xa0000 euros", "labels": f"N {i % 2}"}
    )
    assert load(f"tag:{path},split=split")[1].train["words"][0] == ["10\xa0000", "euros"]


# Two spans: words 1-2 and word 4; a third, word 5, touches the second and has its type.
SCHEMES = {
    "IOB2": "O B-X I-X O B-Y B-Y",
    "IOB1": "O I-X I-X O I-Y B-Y",
    "BIOES": "O B-X E-X O S-Y S-Y",
    "BILOU": "O B-X L-X O U-Y U-Y",
    "BMEWO": "O B-X E-X O W-Y W-Y",
    "IOE": "O I-X E-X O E-Y E-Y",
    "underscores": "O B_X I_X O B_Y B_Y",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_gives_the_same_spans(scheme: str, tmp_path: Path) -> None:
    """Case 07: read as B-, I- and O, spans of BIOES end a word early, and S- is none."""
    words = ["the", "old", "cat", "saw", "boat", "boat"]
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"words": [*words, str(i)], "labels": [*SCHEMES[scheme].split(), "O"]},
    )
    for option in ("", ",metric=span_f1"):
        task, splits = load(f"tag:{path},split=split{option}")
        assert splits.metric == "span_f1"
        assert splits.test["labels"][0][:-1] == SCHEMES["IOB2"].split()
        assert baseline(task, splits, "window_of_words") == 1.0
    if scheme in ("IOB1", "BIOES", "BILOU"):
        assert f"are read as {scheme}" in notes(splits)


def test_spans_without_a_type_and_labels_that_are_no_spans(tmp_path: Path) -> None:
    bare = jsonl(tmp_path / "a.jsonl", lambda i: {"words": "a b c", "labels": "B I O"})
    assert load(f"tag:{bare},split=split")[1].test["labels"][0] == ["B-span", "I-span", "O"]
    segmented = jsonl(tmp_path / "b.jsonl", lambda i: {"words": "a b c d", "labels": "B M E S"})
    splits = load(f"tag:{segmented},split=split")[1]
    assert splits.test["labels"][0] == ["B-span", "I-span", "I-span", "B-span"]
    other = jsonl(tmp_path / "c.jsonl", lambda i: {"words": "a b", "labels": "NOUN VERB"})
    assert load(f"tag:{other},split=split")[1].metric == "accuracy"
    with pytest.raises(
        BenchError, match=r"needs labels of one scheme \(IOB, BIOES, .*'NOUN', 'VERB'"
    ):
        load(f"tag:{other},split=split,metric=span_f1")


def test_labels_that_keep_spans_from_being_read_are_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", lambda i: {"words": "a b", "labels": "B-X 0"})
    assert "the metric is accuracy, because 0 belongs to none" in notes(
        load(f"tag:{path},split=split")[1]
    )
    jsonl(path, lambda i: {"words": [["a"], "b"], "labels": ["x", "y"]})
    with pytest.raises(
        BenchError, match=r"row 1: each word and each label must be a text, not \['a'"
    ):
        load(f"tag:{path},split=split")


CONLLU = """# sent_id = {i}
1\tThe\tthe\tDET\tDT\t_\t2\tdet\t_\t_
2-3\tcat's\t_\t_\t_\t_\t_\t_\t_\t_
2\tcat\tcat\tNOUN\tNN\t_\t0\troot\t_\t_
3\t's\t's\tPART\t_\t_\t2\tcase\t_\t_
3.1\tx\t_\t_\t_\t_\t_\t_\t_\t_
4\t{i}\t{i}\tNUM\tCD\t_\t2\tdep\t_\t_
"""


def test_conllu(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", "\n".join(CONLLU.format(i=i) for i in range(60)))
    splits = load(f"tag:{path}")[1]
    assert splits.train["words"][0][:3] == ["The", "cat", "'s"]
    assert splits.train["labels"][0] == ["DET", "NOUN", "PART", "NUM"]
    assert "which are no words: 120" in notes(splits)
    assert load(f"tag:{path},labels=xpos")[1].train["labels"][0] == ["DT", "NN", None, "CD"]
    write(path, "1\tThe\tDET\n")
    with pytest.raises(BenchError, match=r"line 1: 3 columns; CoNLL-U has ten"):
        load(f"tag:{path}")


@pytest.mark.parametrize("mark", [" ", "\t"])
def test_columns_of_words_and_labels(mark: str, tmp_path: Path) -> None:
    sentence = [["#", "O"], ["Mr", "O"], ["Reed", "B-PER"], ["{i}", "O"]]
    lines = "\n".join(mark.join(cells) for cells in sentence)
    text = "-DOCSTART- O\n\n" + "\n\n".join(f"# id {i} x\n" + lines.format(i=i) for i in range(60))
    path = write(tmp_path / "a.conll", text)
    splits = load(f"tag:{path}")[1]
    assert splits.metric == "span_f1"
    assert len(splits.train) + len(splits.test) == 60
    assert splits.train["words"][0][:3] == ["#", "Mr", "Reed"]
    write(path, "\n\n".join(f"a{i}{mark}X{mark}N\nb{mark}Y{mark}{i % 2}" for i in range(60)))
    assert load(f"tag:{path},labels=column2")[1].train["labels"][0] == ["X", "Y"]
    write(path, f"a{mark}X\nb{mark}Y{mark}Z\n")
    with pytest.raises(BenchError, match="line 2: 3 columns; each line needs a word"):
        load(f"tag:{path}")
