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
