"""Faults that people's label files have: each kind with a small file, and its right outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.data.user_kinds import notes_of
from bench.probing.data.user_tasks import user_task
from bench.probing.task import DataRoot, Splits, Task

NOISE = Noise(0, 0, torch.arange(1))
NOUNS = ("cat", "dog", "boat", "tree", "stone", "river")


def text_of(i: int) -> str:
    return f"the {NOUNS[i % 6]} is {('bad', 'good')[i % 2]} today {i}."


def parts(count: int = 24) -> list[str]:
    return ["train" if i < count // 2 else "test" for i in range(count)]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def jsonl(path: Path, row: Callable[[int], dict[str, Any]], count: int = 24) -> Path:
    rows = [{**row(i), "split": part} for i, part in enumerate(parts(count))]
    return write(path, "\n".join(map(json.dumps, rows)))


def load(argument: str) -> tuple[Task, Splits]:
    task = user_task(argument)()
    splits = task.load(DataRoot())
    task.check(splits)
    return task, splits


def baseline(task: Task, splits: Splits, name: str = "bag_of_words") -> float:
    return task.baselines(splits, NOISE)[name].value


def notes(splits: Splits) -> str:
    return "\n".join(notes_of(splits))


# Separated values


def test_a_tsv_file_has_no_quoting(tmp_path: Path) -> None:
    """Case 01: a quotation mark opens row 3 and closes row 10; no row vanishes."""
    texts = [text_of(i) for i in range(60)]
    texts[2], texts[9] = '"' + texts[2], texts[9] + '"'
    lines = ["text\tlabel", *(f"{text}\t{i % 2}" for i, text in enumerate(texts))]
    path = write(tmp_path / "a.tsv", "\n".join(lines))
    splits = load(f"classify:{path}")[1]
    assert {*splits.train["text"], *splits.test["text"]} == set(texts)
    assert not notes(splits)
    write(path, "\n".join([*lines, '"quoted"\t1']))
    assert '1 cells begin and end with a quotation mark (")' in notes(load(f"classify:{path}")[1])
    write(path, "\n".join([*lines, "a\tb\t1"]))
    with pytest.raises(BenchError, match=r"line 62: 3 cells, .* cannot contain a tab"):
        load(f"classify:{path}")


def test_column_names_lose_white_space_and_byte_order_marks(tmp_path: Path) -> None:
    rows = "\n".join(f"{text_of(i)},{i % 2}" for i in range(60))
    path = write(tmp_path / "a.csv", f"\ufeff\ufefftext , label\xa0\n{rows}")
    splits = load(f"classify:{path}")[1]
    assert len(splits.train) == 48
    write(tmp_path / "a.csv", f"text,text \n{rows}")
    with pytest.raises(BenchError, match="two columns with the name 'text'"):
        load(f"classify:{tmp_path / 'a.csv'}")


# Labels


def test_withheld_labels_fall_back_to_validation(tmp_path: Path) -> None:
    """Case 02: test labels are -1."""

    def table(name: str, labels: Sequence[object], first: int) -> None:
        rows = [f"{text_of(first + i)},{label}" for i, label in enumerate(labels)]
        write(tmp_path / name, "\n".join(["text,label", *rows]))

    table("train.csv", [i % 2 for i in range(20)], 0)
    table("dev.csv", [i % 2 for i in range(12)], 100)
    for withheld in ("-1", "-1.0", "-100", ""):
        table("test.csv", [withheld] * 12, 200)
        splits = load(f"classify:{tmp_path}")[1]
        assert splits.test["text"][0] == text_of(100)
        assert "the test part has no labels" in notes(splits)
    write(tmp_path / "test.csv", "text,id\na,1")
    assert "no column 'label'" in notes(load(f"classify:{tmp_path}")[1])
    table("test.csv", [i % 2 for i in range(12)], 200)
    assert load(f"classify:{tmp_path}")[1].test["text"][0] == text_of(200)
    table("test.csv", [-1] * 12, 200)
    (tmp_path / "dev.csv").unlink()
    with pytest.raises(
        BenchError, match=r"test part has no labels \(all are '-1'\); use an edition"
    ):
        load(f"classify:{tmp_path}")


def test_minus_one_is_a_class_where_train_has_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", lambda i: {"text": text_of(i), "label": i % 2 * 2 - 1})
    splits = load(f"classify:{path},split=split")[1]
    assert set(splits.test["label"]) == {"-1", "1"}
    assert not notes(splits)
    jsonl(path, lambda i: {"text": text_of(i), "label": i % 3 - 1})
    assert "4 of 12 rows have the label -1, which is a class" in notes(
        load(f"classify:{path},split=split")[1]
    )


@pytest.mark.parametrize("kind", ["similarity", "score"])
def test_withheld_numbers_fall_back_to_validation(kind: str, tmp_path: Path) -> None:
    for part, first in (("train", 0), ("validation", 20), ("test", 40)):
        rows = [
            {"text": text_of(i), "text_pair": text_of(i + 1), "score": -1.0 if first == 40 else i}
            for i in range(first, first + 12)
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / f"{part}.parquet")
    splits = load(f"{kind}:{tmp_path}")[1]
    assert splits.test["score"].min() == 20


SPELLINGS = {
    "trailing space": ("neg", "neg "),
    "no-break space": ("not good", "not\xa0good"),
    "byte order mark": ("neg", "\ufeffneg"),
    "float type": (0, 0.0),
    "float text": ("0", "0.0"),
    "composition": ("caf\u00e9", "cafe\u0301"),
}


@pytest.mark.parametrize("kind", ["classify", "pair", "tag"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_labels_without_a_visible_difference_are_one_class(
    kind: str, name: str, tmp_path: Path
) -> None:
    """Case 04: the labels of one part are spelt otherwise."""

    def row(i: int) -> dict[str, Any]:
        label = SPELLINGS[name][i >= 12] if i % 2 else "pos"
        if kind == "tag":
            return {"words": ["the", NOUNS[i % 6]], "labels": ["x", label]}
        return {"text": text_of(i), "text_pair": text_of(i + 1), "label": label}

    task, splits = load(f"{kind}:{jsonl(tmp_path / 'a.jsonl', row)},split=split")
    column = "labels" if kind == "tag" else "label"
    assert set(map(str, splits.train[column])) == set(map(str, splits.test[column]))
    if kind != "tag":
        assert baseline(task, splits) > 0.5


def test_two_spellings_of_a_number_are_joined_and_said(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"text": text_of(i), "label": ("1", "1.0", "2", "01")[i % 4]},
    )
    splits = load(f"classify:{path},split=split")[1]
    assert set(splits.train["label"]) == {"1", "2", "01"}
    assert "the labels '1' and '1.0' are one class, '1'" in notes(splits)


@pytest.mark.parametrize("kind", ["classify", "tag", "multilabel"])
def test_test_labels_that_train_does_not_have(kind: str, tmp_path: Path) -> None:
    def row(i: int, is_other: bool) -> dict[str, Any]:
        label = f"l{i % 2}" + ("_other" if is_other else "")
        if kind == "tag":
            return {"words": ["the", NOUNS[i % 6]], "labels": [label, label]}
        if kind == "multilabel":
            return {
                "text": text_of(i),
                "labels": [label, "both"] if i % 3 else [label, label + "2"],
            }
        return {"text": text_of(i), "label": label}

    path = jsonl(tmp_path / "a.jsonl", lambda i: row(i, i == 20))
    count, share = {"classify": (1, 12), "tag": (2, 24), "multilabel": (1, 24)}[kind]
    assert f"{count} of {share} test labels" in notes(load(f"{kind}:{path},split=split")[1])
    if kind != "multilabel":
        jsonl(path, lambda i: row(i, i >= 12))
        with pytest.raises(BenchError, match=r"none of the labels of the test split .* in train"):
            load(f"{kind}:{path},split=split")


@pytest.mark.parametrize("value", [["a", "b"], "['a', 'b']", '["a"]'])
@pytest.mark.parametrize("kind", ["classify", "pair"])
def test_one_label_is_no_list(kind: str, value: object, tmp_path: Path) -> None:
    """Case 09: several labels in the column of a label."""
    pairs = {"text": "a", "text_pair": "b"}
    path = jsonl(tmp_path / "a.jsonl", lambda i: {**pairs, "label": value})
    hint = "multilabel:FILE reads several" if kind == "classify" else "one label per pair"
    with pytest.raises(BenchError, match=rf"row 1: the label .* is a list; .*{hint}"):
        load(f"{kind}:{path},split=split")
    jsonl(path, lambda i: {**pairs, "label": {"a": 1}})
    with pytest.raises(BenchError, match="row 1: the label"):
        load(f"{kind}:{path},split=split")


@pytest.mark.parametrize("role", ["text", "text_pair", "question", "context"])
def test_a_text_is_no_list(role: str, tmp_path: Path) -> None:
    """Case 10: a list in the column of a text."""

    def row(i: int) -> dict[str, Any]:
        values = {name: text_of(i) for name in ("text", "text_pair", "question", "context")}
        return {**values, "answers": NOUNS[i % 6], "label": i % 2, role: [text_of(i), "more"]}

    kind = "qa" if role in ("question", "context") else "pair"
    path = jsonl(tmp_path / "a.jsonl", row)
    with pytest.raises(BenchError, match=rf"row 1: the {role} .* one text is needed in each row"):
        load(f"{kind}:{path},split=split")


def test_numbers_in_the_column_of_a_label(tmp_path: Path) -> None:
    """Case 26: ratings from 0 to 5 with decimals are for the kind `score`."""
    draws = np.random.default_rng(0).uniform(0, 5, 100).round(3)
    rows = "\n".join(f"{text_of(i)},{draw}" for i, draw in enumerate(draws))
    path = write(tmp_path / "a.csv", f"text,label\n{rows}")
    with pytest.raises(BenchError, match=r"100 different numbers .* score:FILE,score=COLUMN"):
        load(f"classify:{path}")
    task, splits = load(f"score:{path},score=label")
    assert (splits.metric, splits.chance) == ("spearman", 0.0)
    scores = task.baselines(splits, NOISE)
    assert scores["majority"].value == 0.0
    assert list(scores["bag_of_words"].metrics) == ["spearman", "r2"]
    rows = "\n".join(f"{text_of(i)},answer {i}" for i in range(100))
    with pytest.raises(BenchError, match=r"100 different labels, .* most classes have one example"):
        load(f"classify:{write(path, f'text,label{chr(10)}{rows}')}")
    half_stars = "\n".join(f"{text_of(i)},{i % 10 / 2}" for i in range(100))
    splits = load(f"classify:{write(path, f'text,label{chr(10)}{half_stars}')}")[1]
    assert {"0", "0.5", "1"} <= set(splits.train["label"])


def test_halves_of_surrogate_pairs_are_replaced_and_counted(tmp_path: Path) -> None:
    """Case 12: no encoding can write such a half, which fails only when the text is encoded."""

    def row(i: int) -> dict[str, Any]:
        return {"text": text_of(i) + "\ud83d" * (i == 3), "label": f"{i % 2}" + "\ude00"}

    task, splits = load(f"classify:{jsonl(tmp_path / 'a.jsonl', row)},split=split")
    assert splits.train["text"][3] == text_of(3) + "\ufffd"
    assert "U+FFFD: 25, the first in row 1" in notes(splits)
    assert baseline(task, splits) == 1.0
    words = jsonl(
        tmp_path / "b.jsonl", lambda i: {"words": ["\ud83d", "a"], "labels": ["x", str(i % 2)]}
    )
    assert load(f"tag:{words},split=split")[1].train["words"][0] == ["\ufffd", "a"]


def test_bytes_are_decoded(tmp_path: Path) -> None:
    rows = [{"text": text_of(i).encode(), "label": (b"no", b"yes")[i % 2]} for i in range(60)]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "b.csv", index=False)
    for name in ("a.parquet", "b.csv"):
        splits = load(f"classify:{tmp_path / name}")[1]
        assert set(splits.train["label"]) == {"no", "yes"}
        assert splits.train["text"][0].startswith("the ")


def test_chinese_texts_have_a_bag_of_characters(tmp_path: Path) -> None:
    """Case 17: a word model of spaces makes each Chinese text one word."""
    good, bad, rest = ("快乐", "喜欢"), ("悲伤", "难过"), ("学校", "老师", "河流", "山上", "今天")
    draw = np.random.default_rng(0)

    def text(i: int) -> str:
        words = [*draw.choice(rest, 6), draw.choice(good if i % 2 else bad)]
        return "".join(draw.permutation(words)) + "。"

    rows = "\n".join(f"{text(i)},{i % 2}" for i in range(120))
    task, splits = load(f"classify:{write(tmp_path / 'a.csv', f'text,label{chr(10)}{rows}')}")
    assert baseline(task, splits) > 0.9


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    def row(i: int) -> dict[str, Any]:
        return {"text": text_of(i), "label": {15: -1, 16: -100, 3: -100}.get(i, i % 2)}

    splits = load(f"classify:{jsonl(tmp_path / 'a.jsonl', row)},split=split")[1]
    assert (len(splits.train), len(splits.test)) == (11, 10)
    assert "train part: 1 of 12 rows have no label (-100) and are left out" in notes(splits)
    assert "test part: 2 of 12 rows have no label (-1, -100) and are left out" in notes(splits)


def test_texts_that_are_lists_written_as_text(tmp_path: Path) -> None:
    rows = [{"text": [text_of(i), "more"], "label": i % 2} for i in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(BenchError, match=r"row 1: the text .* is a list; one text is needed"):
        load(f"classify:{tmp_path / 'a.csv'}")
    rows = [{"text": f"[Applause {i}]", "label": i % 2} for i in range(60)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    assert load(f"classify:{tmp_path / 'a.csv'}")[1].train["text"][0] == "[Applause 0]"


def test_other_separators_and_several_files_of_a_part(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", "text;label\na;1")
    with pytest.raises(BenchError, match=r"Save it with commas in place of ';'"):
        load(f"classify:{path}")
    write(tmp_path / "train.jsonl", "{}")
    with pytest.raises(BenchError, match=r"several train parts: train\.csv, train\.jsonl"):
        load(f"classify:{tmp_path}")


# Tagging

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


# Question answering


def question(i: int) -> dict[str, Any]:
    return {
        "question": f"What stood in {1000 + i}?",
        "context": f"In the year {1000 + i} the {NOUNS[i % 6]} stood by the gate.",
    }


ANSWERS: dict[str, Callable[[str], Any]] = {
    "no start": lambda noun: {"text": [noun]},
    "no start, one": lambda noun: {"text": noun},
    "float start": lambda noun: {"text": [noun], "answer_start": [21.0]},
    "text start": lambda noun: {"text": [noun], "answer_start": ["21"]},
    "null start": lambda noun: {"text": [noun], "answer_start": [None]},
    "minus one": lambda noun: {"text": [noun], "answer_start": [-1]},
    "objects": lambda noun: [{"text": noun, "answer_start": 21}],
    "strings": lambda noun: [noun],
    "python": lambda noun: str({"text": [noun], "answer_start": [21]}),
    "json": lambda noun: json.dumps([{"text": noun, "answer_start": 21}]),
    "numpy": lambda noun: (
        f"{{'text': array(['{noun}'], dtype=object), 'answer_start': array([21], dtype=int32)}}"
    ),
}


@pytest.mark.parametrize("form", ANSWERS)
def test_answers_of_every_layout(form: str, tmp_path: Path) -> None:
    """Cases 13 and 14: answers without a start, and starts that a float type holds."""
    path = jsonl(
        tmp_path / "a.jsonl", lambda i: {**question(i), "answers": ANSWERS[form](NOUNS[i % 6])}
    )
    splits = load(f"qa:{path},split=split")[1]
    expected = [[{"text": NOUNS[i % 6], "start": 21}] for i in range(12)]
    assert splits.test["answers"].tolist() == expected


@pytest.mark.parametrize("start", [3.5, "x", float("inf")])
def test_a_start_is_a_whole_number(start: object, tmp_path: Path) -> None:
    row = {"question": "q", "context": "the cat", "answers": {"text": "cat", "answer_start": start}}
    path = jsonl(tmp_path / "a.jsonl", lambda i: row)
    with pytest.raises(BenchError, match=r"row 1: the start .* is no whole number"):
        load(f"qa:{path},split=split")


def test_an_answer_is_looked_up_between_words_first(tmp_path: Path) -> None:
    row = {"question": "q", "context": "concatenate the cat", "answers": "cat"}
    path = jsonl(tmp_path / "a.jsonl", lambda i: row)
    assert load(f"qa:{path},split=split")[1].test["answers"][0][0]["start"] == 16
    jsonl(path, lambda i: {**row, "answers": {"text": ["cat"], "answer_start": [4]}})
    with pytest.raises(BenchError, match=r"row 1: the answer 'cat' .* character 4 .* 'ate' stands"):
        load(f"qa:{path},split=split")


@pytest.mark.parametrize("nothing", [{"text": [], "answer_start": []}, [], "", None, {"text": ""}])
def test_unanswerable_questions_are_left_out_and_counted(nothing: Any, tmp_path: Path) -> None:
    """Case 15: SQuAD 2."""
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {**question(i), "answers": nothing if i % 4 == 0 else NOUNS[i % 6]}, 40,
    )  # fmt: skip
    splits = load(f"qa:{path},split=split")[1]
    assert (len(splits.train), len(splits.test)) == (15, 15)
    assert "train part: 5 of 20 questions have no answer; they are left out" in notes(splits)
    jsonl(path, lambda i: {**question(i), "answers": nothing if i % 2 else NOUNS[i % 6]}, 24)
    with pytest.raises(BenchError, match=r"has 6 rows, .* 6 of 12 questions have no answer"):
        load(f"qa:{path},split=split")


def test_the_files_of_squad(tmp_path: Path) -> None:
    questions = [
        {"context": question(i)["context"],
         "qas": [{"id": str(i), "question": question(i)["question"], "is_impossible": False,
                  "answers": [{"text": NOUNS[i % 6], "answer_start": 21}]}]}
        for i in range(60)
    ]  # fmt: skip
    path = write(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": questions}]}))
    splits = load(f"qa:{path}")[1]
    assert len(splits.train) + len(splits.test) == 60
    rows = [{"text": text_of(i), "label": i % 2} for i in range(60)]
    for text in (json.dumps(rows), "\n".join(map(json.dumps, rows))):
        assert len(load(f"classify:{write(path, text)}")[1].train) == 48
    for text in ("[1]", '{"a": 1}', "{", '[{"paragraphs": [{}]}]'):
        with pytest.raises(BenchError, match=r"a\.json"):
            load(f"classify:{write(path, text)}")


@pytest.mark.parametrize(
    "texts", [("城市今天读书今天大学公园看花河流。", "看花河流"), ("แมวสีดำนอนบนเสื่อ", "นอนบน"),
              ("गाँव में बिल्ली बैठी है।", "बिल्ली बैठी")]
)  # fmt: skip
def test_the_best_possible_score_of_every_script_is_one(
    texts: tuple[str, str], tmp_path: Path
) -> None:
    """Case 16: words of Chinese are characters, so an answer is whole words."""
    from bench.probing.data.user_answers import best_possible
    from bench.probing.families.span_extraction import SpanExtraction

    context, answer = texts
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {
            "question": f"{context[:4]}{i}?",
            "context": f"{context} {i}",
            "answers": answer,
        },
    )
    task, splits = load(f"qa:{path},split=split")
    assert best_possible(splits.test) == 1.0
    assert isinstance(task, SpanExtraction)
    assert task._score_answers(splits, [answer] * 12, {}).value == 1.0
    assert not notes(splits)


def test_answers_within_a_word_are_said(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"question": "q", "context": f"the catfish {i}", "answers": "cat"},
    )
    assert "the best possible f1 is 0.000" in notes(load(f"qa:{path},split=split")[1])


# Several labels a text


def test_several_labels_of_a_text(tmp_path: Path) -> None:
    from sklearn.metrics import f1_score, label_ranking_average_precision_score

    from bench.probing.families.multilabel import METRICS, MultilabelClassification

    names = ["animal", "plant", "thing"]

    def row(i: int) -> dict[str, Any]:
        labels = [name for k, name in enumerate(names) if i >> k & 1]
        return {"text": " ".join(labels) + f" {i}", "labels": labels}

    path = jsonl(tmp_path / "a.jsonl", row, 160)
    task, splits = load(f"multilabel:{path},split=split")
    assert isinstance(task, MultilabelClassification)
    assert "10 of 80 texts have no label" in notes(splits)
    assert baseline(task, splits) == 1.0
    draw = np.random.default_rng(0)
    guesses = pd.DataFrame(draw.uniform(size=(80, 3)).round(1), columns=names)
    score = task.score_predictions(splits, guesses, {})
    truth = np.array([[name in row for name in names] for row in splits.test["labels"]])
    answers = guesses.to_numpy() >= 0.5
    expected = {
        "micro_f1": f1_score(truth, answers, average="micro"),
        "macro_f1": f1_score(truth, answers, average="macro"),
        "lrap": label_ranking_average_precision_score(truth, guesses),
    }
    assert {name: value for name, (value, _) in score.metrics.items()} == pytest.approx(expected)
    for metric in METRICS:
        splits = load(f"multilabel:{path},split=split,metric={metric}")[1]
        assert (splits.metric, next(iter(task.baselines(splits, NOISE)["majority"].metrics))) == (
            metric, metric,
        )  # fmt: skip
        assert baseline(task, splits, "majority") == pytest.approx(splits.chance)


@pytest.mark.parametrize("form", [lambda x: "|".join(x), lambda x: ", ".join(x), str, list])
def test_labels_of_a_text_in_every_form(form: Callable[[list[str]], Any], tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"text": text_of(i), "labels": form(["a", "b"] if i % 2 else ["c c"])},
    )
    splits = load(f"multilabel:{path},split=split")[1]
    assert splits.train["labels"].tolist()[:2] == [["c c"], ["a", "b"]]
    jsonl(path, lambda i: {"text": text_of(i), "labels": ["a"]})
    with pytest.raises(BenchError, match="every text has one label; classify:FILE,label=labels"):
        load(f"multilabel:{path},split=split")


def test_a_column_of_zero_and_one_for_each_label(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        lambda i: {"text": text_of(i), "rude": i % 2, "kind": str(i % 3 == 0).lower()},
    )
    splits = load(f"multilabel:{path},split=split,labels=rude+kind")[1]
    assert splits.train["labels"].tolist()[:4] == [["kind"], ["rude"], [], ["kind", "rude"]]
    jsonl(path, lambda i: {"text": text_of(i), "rude": i % 2, "kind": -(i == 13)})
    with pytest.raises(BenchError, match=r"row 14: the column 'kind' has the value '-1'; a label"):
        load(f"multilabel:{path},split=split,labels=rude+kind")
    with pytest.raises(BenchError, match="has no column 'rud'"):
        load(f"multilabel:{path},split=split,labels=rud+kind")


CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not at hand")
@pytest.mark.parametrize(
    ("argument", "outcome"),
    [
        ("classify:01_quotes.tsv,split=split", 40),
        ("classify:02_withheld", 24),
        ("classify:04_spaces.csv,split=split", 24),
        ("tag:05_lists.csv,split=split", 24),
        ("tag:06_minus100.jsonl,split=split", 24),
        ("tag:07_bioes.jsonl,split=split,metric=span_f1", 24),
        ("classify:09_multilabel.jsonl,split=split", "multilabel:FILE"),
        ("multilabel:09_multilabel.jsonl,split=split,labels=label", 24),
        ("classify:10_text_list.jsonl,split=split", "row 1: the text .* is a list"),
        ("classify:12_surrogate.jsonl,split=split", 24),
        ("qa:13_qa_no_start.jsonl,split=split", 24),
        ("qa:14_qa_float_start.jsonl,split=split", 24),
        ("qa:15_qa_unanswerable.jsonl,split=split", "questions have no answer; they are left out"),
        ("qa:16_qa_zh.jsonl,split=split", 24),
        ("classify:17_zh_class.csv", 120),
        ("classify:26_ratings.csv", "score:FILE"),
        ("score:26_ratings.csv,score=label", 100),
    ],
)
def test_the_shared_cases(argument: str, outcome: int | str) -> None:
    kind, file = argument.split(":")
    if isinstance(outcome, int):
        splits = load(f"{kind}:{CASES / file}")[1]
        assert len(splits.train) + len(splits.test) == outcome
    else:
        with pytest.raises(BenchError, match=outcome):
            load(f"{kind}:{CASES / file}")
