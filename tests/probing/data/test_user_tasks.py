"""Tasks from the files of a user."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.experiment.tasks import read_tasks
from bench.pretraining.noise import Noise
from bench.probing.data.user_files import safe_name
from bench.probing.data.user_tasks import parse, reference_of, task_class, user_task
from bench.probing.task import DataRoot, Splits, Task
from tests.helpers.registry import REGISTRY

DATA = DataRoot()
NOISE = Noise(0, 0, torch.arange(1))


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def reviews(count: int = 100, header: str = "review,stars,author") -> str:
    words = ("bad", "good")
    rows = [f'"{words[i % 2]}, number {i}",{i % 2},author {i % 10}' for i in range(count)]
    return "\n".join([header, *rows])


def load(argument: str) -> tuple[Task, Splits]:
    task = user_task(argument)()
    task.require(DATA)
    splits = task.load(DATA)
    task.check(splits)
    return task, splits


def test_columns_by_name_a_stratified_split_and_the_chance_level(tmp_path: Path) -> None:
    path = write(tmp_path / "my reviews.csv", reviews())
    task, splits = load(f"classify:{path},text=review,label=stars")
    assert task.name == "my_reviews"
    assert (len(splits.train), len(splits.test)) == (80, 20)
    assert splits.test["label"].value_counts().to_dict() == {"0": 10, "1": 10}
    assert (splits.metric, splits.chance) == ("accuracy", 0.5)
    again = load(f"classify:{path},text=review,label=stars")[1]
    assert again.sha256 == splits.sha256
    other = load(f"classify:{path},text=review,label=stars,seed=1")[1]
    assert set(other.test["text"]) != set(splits.test["text"])
    bag = task.baselines(splits, NOISE)["bag_of_words"]
    assert bag.value == 1.0


def test_loading_sets_nothing_on_the_task(tmp_path: Path) -> None:
    labels = [["B-PER", "O"], ["O", "O"]]
    rows = [{"words": ["Reed", str(i)], "labels": labels[i % 2]} for i in range(60)]
    task = user_task(f"tag:{write(tmp_path / 'tags.jsonl', chr(10).join(map(json.dumps, rows)))}")
    splits = task().load(DATA)
    assert (task.metric, task.chance) == ("accuracy", None)
    assert (splits.metric, splits.chance) == ("span_f1", 0.0)
    assert task().metric_of(splits) == "span_f1"
    assert task().baselines(splits, NOISE)["majority"].value == 0.0


def test_no_group_and_no_text_is_in_both_parts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", reviews())
    splits = load(f"classify:{path},text=review,label=stars,group=author")[1]
    authors = [
        {int(text.split()[-1]) % 10 for text in frame["text"]}
        for frame in (splits.train, splits.test)
    ]
    assert not authors[0] & authors[1]
    assert len(splits.test) == 20
    twice = write(tmp_path / "b.csv", reviews() + "\n" + reviews().split("\n", 1)[1])
    splits = load(f"classify:{twice},text=review,label=stars")[1]
    assert len(splits.train) + len(splits.test) == 200
    assert not set(splits.train["text"]) & set(splits.test["text"])


def test_the_column_of_a_split_is_used(tmp_path: Path) -> None:
    rows = [
        {"text": f"text {i}", "label": i % 2, "fold": ("Train", "dev", "TEST")[i % 3]}
        for i in range(60)
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    splits = load(f"classify:{path},split=fold")[1]
    assert splits.train["text"].tolist() == [f"text {i}" for i in range(0, 60, 3)]
    assert splits.test["text"].tolist() == [f"text {i}" for i in range(2, 60, 3)]
    for row in rows:
        row["fold"] = row["fold"].replace("TEST", "train")
    write(path, "\n".join(map(json.dumps, rows)))
    splits = load(f"classify:{path},split=fold")[1]
    assert splits.test["text"][0] == "text 1"  # validation, where there is no test
    rows[4]["fold"] = 7
    write(path, "\n".join(map(json.dumps, rows)))
    with pytest.raises(BenchError, match=r"'fold' has the value '7' in 1 rows; .* train, test"):
        load(f"classify:{path},split=fold")


def test_a_folder_is_train_and_test(tmp_path: Path) -> None:
    folder = tmp_path / "My Data"
    write(folder / "train.csv", reviews(40))
    with pytest.raises(BenchError, match=r"My Data has no test part: .*it has \['train\.csv'\]"):
        load(f"classify:{folder},text=review,label=stars")
    frame = pd.DataFrame({"review": [f"good {i}" for i in range(20)], "stars": [1] * 19 + [5]})
    frame.to_parquet(folder / "dev.parquet")
    task, splits = load(f"classify:{folder},text=review,label=stars")
    assert (task.name, len(splits.train), len(splits.test)) == ("my_data", 40, 20)
    assert splits.chance == 0.95
    assert splits.test["label"].tolist()[-1] == "5"  # unseen in train: counted, never right


def test_values_do_not_change(tmp_path: Path) -> None:
    labels = ["NA", "null", "01", "1", "1.5"]
    rows = "\n".join(f"text {i},{labels[i % 5]}" for i in range(100))
    path = write(tmp_path / "a.csv", f"\ufefftext,label\r\n{rows}\r\n\r\n")  # BOM, CRLF, blank line
    splits = load(f"classify:{path}")[1]
    assert set(splits.train["label"]) == set(labels)


def test_pairs_similarities_tags_and_answers(tmp_path: Path) -> None:
    def jsonl(name: str, **row: object) -> Path:
        rows = [{key: value(i) for key, value in row.items()} for i in range(60)]  # type: ignore[operator]
        return write(tmp_path / f"{name}.jsonl", "\n".join(map(json.dumps, rows)))

    two = {"text": lambda i: f"one {i}", "text_pair": lambda i: f"two {i}"}
    path = jsonl("pairs", **two, label=lambda i: int(i % 4 == 0))
    splits = load(f"pair:{path},metric=f1")[1]
    assert splits.metric == "f1"
    assert splits.chance == pytest.approx(2 * 0.25 / 1.25)
    assert splits.sha256 != load(f"pair:{path}")[1].sha256  # another metric is another score
    splits = load(f"similarity:{jsonl('alike', **two, score=lambda i: i / 10)}")[1]
    assert splits.test["score"].dtype == float
    path = jsonl("tags", words=lambda i: f"Mr Reed {i}", labels=lambda i: ["B-PER", "I-PER", None])
    splits = load(f"tag:{path}")[1]
    assert (splits.metric, splits.chance) == ("span_f1", 0.0)
    assert splits.train["words"][0] == ["Mr", "Reed", splits.train["words"][0][2]]
    assert splits.train["labels"][0] == ["B-PER", "I-PER", None]
    path = jsonl("pos", words=lambda i: ["go", str(i)], labels=lambda i: "VERB NUM")
    assert load(f"tag:{path}")[1].chance == 0.5
    squad = {"text": ["cat"], "answer_start": [6]}
    answers = ["cat", ["cat"], [{"text": "cat", "start": 6}], squad]
    path = jsonl(
        "qa", question=lambda i: "who?", context=lambda i: f"the {i % 10} cat",
        answers=lambda i: answers[i % 4],
    )  # fmt: skip
    splits = load(f"qa:{path}")[1]
    assert all(row == [{"text": "cat", "start": 6}] for row in splits.train["answers"])
    assert not set(splits.train["context"]) & set(splits.test["context"])


FAULTS = {
    "empty": (b"", "is empty: the first line must name the columns"),
    "header": (b"text,label\n", "has no rows"),
    "three": (b"text,label\na,1\nb,2\nc,1", "has 3 rows, but at least 50 are needed"),
    "utf16": ("text,label\na,1".encode("utf-16"), "is UTF-16; convert it: iconv"),
    "latin": ("text,label\na,1\ncaf\xe9,1".encode("latin-1"), "line 3: byte 0xe9 is not UTF-8"),
    "ragged": (b"text,label\na,1\nb, c,1", "line 3: 3 cells, but the header has 2"),
    "twice": (b"text,text\na,1", "two columns with the name 'text'"),
    "quote": (b'text,label\n"a,1', "near line 2: unexpected end of data"),
    "columns": (
        b"review,label\na,1",
        r"no column 'text'; its columns are 'review', 'label'.* ,text=COLUMN",
    ),
    "nan": (b"text,label\n" + b"a,1\n" * 60 + b"b,\nc, ", "2 of 62 rows have no label, .* row 61"),
    "class": (b"text,label\n" + b"".join(b"t%d,1\n" % i for i in range(60)), "all .* are '1'"),
    "same": (b"text,label\n" + b"a,1\n" * 60, "cannot be divided: all rows are one group"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_files_are_refused_with_the_fault_and_its_line(fault: str, tmp_path: Path) -> None:
    payload, message = FAULTS[fault]
    path = tmp_path / f"{fault}.csv"
    path.write_bytes(payload)
    with pytest.raises(BenchError, match=message) as caught:
        load(f"classify:{path}")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (
            "similarity",
            {"text": "a", "text_pair": "b", "score": "high"},
            "'high' is not a finite",
        ),
        ("tag", {"words": ["a", "b"], "labels": ["X"]}, "row 1: 2 words and 1 labels"),
        ("tag", {"words": 3, "labels": ["X"]}, "row 1: words must be a list"),
        ("qa", {"question": "q", "context": "c", "answers": "d"}, "'d' is not in its context"),
        ("qa", {"question": "q", "context": "c", "answers": []}, "none of the 60 questions has an"),
    ],
)
def test_the_message_names_an_unusable_row(
    kind: str, row: dict, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", "\n".join([json.dumps(row)] * 60))
    with pytest.raises(BenchError, match=message):
        load(f"{kind}:{path}")
    write(path, "{'a': 1}")
    with pytest.raises(BenchError, match="line 1 is not JSON"):
        load(f"{kind}:{path}")
    write(path, "[1]")
    with pytest.raises(BenchError, match="line 1 is not a JSON object"):
        load(f"{kind}:{path}")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("clasify:{}", "no kind of task named 'clasify'; did you mean 'classify'"),
        ("{}", "write classify:FILE"),
        ("classify:no.csv", "no file or folder 'no.csv'"),
        ("classify:{},txet=review", "no option of classify named 'txet'; did you mean 'text'"),
        ("classify:{},metric=f2", "metric 'f2' is unknown; choose one of accuracy, f1, matthews"),
        ("classify:{},name=../x", r"the name '\.\./x' must have at most 64 characters"),
        ("classify:{},seed=x", "seed 'x' is not a whole number"),
        ("classify:{},seed=²", "seed '²' is not a whole number"),
        ("classify:{},seed=" + "9" * 5000, "seed '9{40}' is not a whole number"),
        ("tag:{}.txt", "has an unknown format"),
    ],
)
def test_wrong_arguments_are_refused(argument: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", reviews())
    write(tmp_path / "a.csv.txt", "a X")
    with pytest.raises(BenchError, match=message):
        user_task(argument.format(path))().require(DATA)


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(BenchError, match="not a regular file"):
        load(f"classify:{tmp_path / 'pipe.csv'}")


def test_a_path_may_hold_commas_and_equals_signs(tmp_path: Path) -> None:
    path = write(tmp_path / "a,text=b" / "ü (1),label=x.csv", reviews())
    file = parse(f"classify:{path},text=review,label=stars")
    assert (file.path, dict(file.options)) == (path, {"text": "review", "label": "stars"})
    assert parse(f"classify:{path}").options == {}
    comma = write(tmp_path / "b.csv", reviews(header='"a,b","c=d",author'))
    splits = load(f"classify:{comma},text=a,b,label=c=d")[1]
    assert len(splits.train) == 80


def test_a_worker_loads_the_same_task_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x, y" / "r.csv", reviews())
    monkeypatch.chdir(tmp_path)
    task = user_task("classify:x, y/r.csv,text=review,label=stars")
    first = task().load(DATA)
    monkeypatch.chdir("/")
    again = task_class(reference_of(task), REGISTRY)
    assert (again.name, again().load(DATA).sha256) == (task.name, first.sha256)
    assert task_class("sst2", REGISTRY) is REGISTRY.get("task", "sst2")
    assert reference_of(REGISTRY.get("task", "sst2")) == "sst2"


def test_user_tasks_are_chosen_alone_or_beside_others(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", reviews())

    def names(task: list[str], tasks: str | None = None, corpus: object = "micro") -> list[str]:
        return list(read_tasks(tasks, task, corpus, REGISTRY))

    assert names(task=[f"classify:{path}"], corpus=["my.txt"]) == ["r"]
    assert names(task=[f"classify:{path}"], tasks="sst2") == ["sst2", "r"]
    with pytest.raises(BenchError, match=r"would have the name 'r' .*,name=my_r"):
        names(task=[f"classify:{path}", f"tag:{path}"])
    write(tmp_path / "sst2.csv", reviews())
    with pytest.raises(BenchError, match="would have the name 'sst2' of another task"):
        names(task=[f"classify:{tmp_path / 'sst2.csv'}"])


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Ünser Büro (1).csv", "unser_buro_1"),
        ("<script>alert(1).jsonl", "script_alert_1"),
        ("=cmd|' /C calc'!A0.csv", "cmd_c_calc_a0"),
        ("2024.parquet", "classify_2024"),
    ],
)
def test_names_are_made_safe(file: str, name: str) -> None:
    assert safe_name(file, "classify") == name


@hypothesis_settings(max_examples=15)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_file_name_becomes_a_safe_name(one: str, other: str) -> None:
    import re

    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", safe_name(one, "classify"))
    if [c for c in one if c.isalnum()] and safe_name("отзывы", "tag") == safe_name(one, "tag"):
        assert one == "отзывы"
    assert safe_name("x" * 300 + one, "tag") != safe_name("x" * 299 + "y" + other, "tag")
