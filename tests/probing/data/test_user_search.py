"""Search collections and clusters from the files of a user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench.corpus.trainer import char_tokenizer
from bench.errors import BenchError
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead
from bench.pretraining.noise import Noise
from bench.probing.data.user_kinds import notes_of
from bench.probing.data.user_tasks import reference_of, task_class, user_task
from bench.probing.reader.reader import RunReader
from bench.probing.task import DataRoot, Splits, Task
from bench.spec import EncoderShape
from tests.helpers.by_hand import write_text
from tests.helpers.paths import ROOT
from tests.helpers.registry import REGISTRY

NOISE = Noise(0, 0, torch.arange(1))
COUNT = 20

Rows = list[dict[str, object]]


def documents() -> Rows:
    return [{"_id": f"d{i}", "title": f"Title {i}", "text": f"word{i} it is"} for i in range(COUNT)]


def queries() -> Rows:
    return [{"_id": f"q{i}", "text": f"where is word{i}"} for i in range(COUNT)]


def judgements() -> Rows:
    return [
        {"query-id": f"q{i}", "corpus-id": f"d{(i + k) % COUNT}", "score": 2 - k}
        for i in range(COUNT)
        for k in range(3)
    ]


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


def beir(folder: Path, docs: Rows | None = None, asked: Rows | None = None,
         judged: Rows | None = None) -> Path:  # fmt: skip
    write(folder / "corpus.jsonl", documents() if docs is None else docs)
    write(folder / "queries.jsonl", queries() if asked is None else asked)
    write(folder / "qrels" / "test.tsv", judgements() if judged is None else judged)
    return folder


def load(argument: str, limit: int | None = None) -> tuple[Task, Splits]:
    task = user_task(argument)()
    data = DataRoot(limit=limit)
    task.require(data)
    splits = task.load(data)
    task.check(splits)
    return task, splits


def test_a_folder_in_the_layout_of_beir(tmp_path: Path) -> None:
    folder = beir(tmp_path / "My Search")
    write(folder / "qrels" / "dev.tsv", judgements()[:36])
    task, splits = load(f"retrieve:{folder}")
    assert (task.name, task.family, task.is_own) == ("my_search", "retrieval", True)
    assert splits.train["text"][0] == "Title 0 word0 it is"
    assert splits.test["relevant"][3] == {"d3": 2.0, "d4": 1.0}  # the grade 0 is not relevant
    assert not notes_of(splits)[:-1]
    assert "recall@100 says nothing, because there are only 20 documents" in notes_of(splits)
    baselines = task.baselines(splits, NOISE)
    assert baselines["bm25"].metrics["mrr@10"][0] == 1.0
    assert 0 < task.chance_of(splits) < 0.5
    dev = load(f"retrieve:{folder},split=dev")[1]
    assert len(dev.test) == 12
    assert "8 of 20 queries have no relevant document; they are left out" in notes_of(dev)
    few = load(f"retrieve:{folder}", limit=11)[1]
    assert (len(few.train), len(few.test)) == (COUNT, 11)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_three_files_of_any_format_are_the_same_collection(ending: str, tmp_path: Path) -> None:
    expected = load(f"retrieve:{beir(tmp_path / 'beir')}")[1]
    paths = {
        role: write(tmp_path / "own, mine" / f"{role}.{ending}", rows)
        for role, rows in (("docs", documents()), ("queries", queries()), ("qrels", judgements()))
    }
    files = ",".join(f"{role}={path}" for role, path in paths.items())
    task, splits = load(f"retrieve:{files},name=mine")
    assert splits.sha256 == expected.sha256
    reordered = f"retrieve:name=mine,qrels={paths['qrels']},queries={paths['queries']}"
    assert load(f"{reordered},docs={paths['docs']}")[1].sha256 == splits.sha256
    reference = reference_of(type(task))
    again = task_class(reference, REGISTRY)
    assert (again.name, reference_of(again)) == ("mine", reference)
    assert again().load(DataRoot()).sha256 == splits.sha256


def test_the_argument_of_a_worker_is_valid_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beir(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    task = user_task("retrieve:docs=corpus.jsonl,queries=queries.jsonl,qrels=qrels/test.tsv")
    monkeypatch.chdir(tmp_path)
    assert len(task_class(reference_of(task), REGISTRY)().load(DataRoot()).test) == COUNT


@pytest.mark.parametrize("name", ["test.tsv", "qrels.txt", "run.qrels"])
def test_judgements_of_trec(name: str, tmp_path: Path) -> None:
    folder = beir(tmp_path / "beir")
    expected = load(f"retrieve:{folder}")[1]
    lines = [f"{r['query-id']} 0\t{r['corpus-id']} {r['score']}" for r in judgements()]
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    splits = load(f"retrieve:{folder},qrels={tmp_path / name}")[1]
    assert splits.sha256 == expected.sha256


def test_columns_of_other_names(tmp_path: Path) -> None:
    renamed = {"_id": "key", "text": "body", "title": "head"}
    docs = [{renamed[k]: v for k, v in row.items()} for row in documents()]
    asked = [{"key": row["_id"], "question": row["text"]} for row in queries()]
    judged = [dict(zip(("q", "d", "g"), row.values(), strict=True)) for row in judgements()]
    folder = beir(tmp_path / "a", docs, asked, judged)
    names = "id=key,text=body,title=head,query_text=question,query=q,document=d,grade=g"
    splits = load(f"retrieve:{folder},{names}")[1]
    assert splits.sha256 == load(f"retrieve:{beir(tmp_path / 'b')}")[1].sha256


def test_a_query_that_is_a_document_is_left_out_of_its_ranking(tmp_path: Path) -> None:
    asked = [{"_id": row["_id"], "text": row["text"]} for row in documents()]
    judged = [{"query-id": f"d{i}", "corpus-id": f"d{(i + 1) % COUNT}", "score": 1}
              for i in range(COUNT)]  # fmt: skip
    splits = load(f"retrieve:{beir(tmp_path / 'a', None, asked, judged)}")[1]
    assert splits.test["excluded"].tolist() == [f"d{i}" for i in range(COUNT)]
    assert any("20 of 20 queries are documents too" in note for note in notes_of(splits))
    asked = [{"_id": f"d{i}", "text": "another text"} for i in range(COUNT)]
    splits = load(f"retrieve:{beir(tmp_path / 'b', None, asked, judged)}")[1]
    assert "excluded" not in splits.test  # the same ids, by chance


def spoiled(rows: Rows, place: int, **values: object) -> Rows:
    return [row | values if i == place else row for i, row in enumerate(rows)]


FAULTS = {
    "document twice": (
        {"docs": spoiled(documents(), 4, _id="d1")},
        r"corpus\.jsonl: 1 of 20 documents have the id .* 'd1' in rows 2 and 5",
    ),
    "query twice": (
        {"asked": spoiled(queries(), 4, _id="q1")},
        r"queries\.jsonl: 1 of 20 queries have the id .* 'q1' in rows 2 and 5",
    ),
    "unknown document": (
        {"judged": spoiled(judgements(), 7, **{"corpus-id": "d99"})},
        r"test\.tsv: 1 of 60 judgements are about a document .*corpus\.jsonl, .* 'd99' in row 8",
    ),
    "unknown query": (
        {"judged": spoiled(judgements(), 7, **{"query-id": "q99"})},
        r"about a query that is not in .*queries\.jsonl, the first is 'q99' in row 8; add it",
    ),
    "nothing relevant": (
        {"judged": [row | {"score": 0} for row in judgements()]},
        "none of the 60 judgements is above 0, .* need a grade of 1 or more",
    ),
    "negative": (
        {"judged": spoiled(judgements(), 1, score=-1)},
        "row 2: the grade '-1' is not a whole number from 0",
    ),
    "decimals": (
        {"judged": spoiled(judgements(), 1, score="0.5")},
        "row 2: the grade '0.5' is not a whole number from 0",
    ),
    "digits": (
        {"judged": spoiled(judgements(), 1, score="9" * 5000)},
        "row 2: the grade '9{40}' is not a whole number from 0",
    ),
    "words": ({"judged": spoiled(judgements(), 1, score="good")}, "row 2: the grade 'good'"),
    "no grade": (
        {"judged": spoiled(judgements(), 1, score=None)},
        "1 of 60 rows have no grade, the first is row 2",
    ),
    "judged twice": (
        {"judged": spoiled(judgements(), 1, **{"corpus-id": "d0"})},
        "document 'd0' is judged twice for the query 'q0', in rows 1 and 2; keep one",
    ),
    "empty document": (
        {"docs": spoiled(documents(), 2, title="", text=" ")},
        r"corpus\.jsonl: 1 of 20 rows have no text, the first is row 3",
    ),
    "empty query": (
        {"asked": spoiled(queries(), 2, text="")},
        r"queries\.jsonl: 1 of 20 rows have no query_text, the first is row 3",
    ),
    "a list": ({"docs": spoiled(documents(), 2, text=["a"])}, "row 3: the text .* is a list"),
    "no id": (
        {"docs": spoiled(documents(), 2, _id=None)},
        "1 of 20 rows have no id, the first is row 3",
    ),
    "id column": (
        {"docs": [{"key": 1, "text": "x"}]},
        "has no column '_id'; its columns are 'key', 'text'. Name the right one with ,id=COLUMN",
    ),
    "text column": (
        {"docs": [{"_id": 1, "body": "x"}]},
        "no column 'text'.* ,text=COLUMN",
    ),
    "query column": (
        {"asked": [{"_id": 1, "body": "x"}]},
        r"queries\.jsonl has no column 'text'.* ,query_text=COLUMN",
    ),
    "grade column": (
        {"judged": [{"query-id": "q1", "corpus-id": "d1"}]},
        r"test\.tsv has no column 'score'.* ,grade=COLUMN",
    ),
    "few queries": (
        {"asked": queries()[:5], "judged": judgements()[:15]},
        "the queries split has 5 rows, but at least 10 are needed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unusable_collection_is_refused_with_the_fault_and_its_row(
    fault: str, tmp_path: Path
) -> None:
    rows, message = FAULTS[fault]
    folder = beir(tmp_path / "a", **rows)
    with pytest.raises(BenchError, match=message):
        load(f"retrieve:{folder}")


def test_missing_and_doubtful_files_are_named(tmp_path: Path) -> None:
    folder = beir(tmp_path / "a")
    with pytest.raises(BenchError, match=r"no file of qrels: looked for qrels/dev\.tsv, .*,split="):
        load(f"retrieve:{folder},split=dev")
    with pytest.raises(BenchError, match=r"queries=FILE is missing; give docs=FILE,queries=FILE"):
        load(f"retrieve:docs={folder / 'corpus.jsonl'}")
    with pytest.raises(BenchError, match="docs=FILE is missing; give docs=FILE,queries=FILE"):
        load(f"retrieve:queries={folder / 'queries.jsonl'}")
    with pytest.raises(BenchError, match="no file or folder"):
        load(f"retrieve:{folder},queries=nowhere.csv")
    with pytest.raises(BenchError, match=r"no option of retrieve named 'qurels'"):
        load(f"retrieve:{folder},qurels=x.tsv")
    write(folder / "corpus.csv", documents())
    with pytest.raises(BenchError, match=r"several files of docs: corpus\.csv, corpus\.jsonl; "):
        load(f"retrieve:{folder}")
    assert len(load(f"retrieve:{folder},docs={folder / 'corpus.csv'}")[1].train) == COUNT
    (tmp_path / "bad.txt").write_text("q0 0 d0 1\nq0 d1 1\n")
    with pytest.raises(BenchError, match=r"bad\.txt, line 2: 3 columns, but a line of TREC"):
        load(f"retrieve:{folder},docs={folder / 'corpus.csv'},qrels={tmp_path / 'bad.txt'}")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(BenchError, match=r"empty\.txt has no rows"):
        load(f"retrieve:{folder},docs={folder / 'corpus.csv'},qrels={tmp_path / 'empty.txt'}")


def reviews(count: int = 100, labels: int = 4) -> Rows:
    words = ("plum", "nail", "boat", "song")
    return [
        {"review": f"the {words[i % labels]} number {i}", "topic": words[i % labels]}
        for i in range(count)
    ]


def test_four_fifths_of_a_file_are_clustered(tmp_path: Path) -> None:
    path = write(tmp_path / "reviews.csv", reviews())
    task, splits = load(f"cluster:{path},text=review,label=topic")
    assert (task.family, task.metric_of(splits)) == ("clustering", "v_measure")
    assert (len(splits.train), len(splits.test)) == (20, 80)
    assert splits.test["label"].value_counts().tolist() == [20] * 4
    baselines = task.baselines(splits, NOISE)
    assert 0 < task.chance_of(splits) < 0.1 < baselines["bag_of_words"].value
    assert baselines["majority"].value == 0.0


def test_labels_that_only_the_clustered_part_has_are_no_errors(tmp_path: Path) -> None:
    write(tmp_path / "a" / "train.csv", reviews(20, 2))
    write(tmp_path / "a" / "test.csv", reviews(40, 4))
    splits = load(f"cluster:{tmp_path / 'a'},text=review,label=topic")[1]
    assert (len(splits.train), len(splits.test), notes_of(splits)) == (20, 40, ())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (reviews(100, 1), "all 20 labels of the train split are 'plum'; clustering needs"),
        ([row | {"topic": i} for i, row in enumerate(reviews())], "100 different labels"),
        ([row | {"topic": None} for row in reviews()], "100 of 100 rows have no label"),
        ([row | {"review": ""} for row in reviews()], "100 of 100 rows have no text"),
        (reviews(30), "has 30 rows, but at least 50 are needed"),
    ],
)
def test_unusable_clusters_are_refused(rows: Rows, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(BenchError, match=message):
        load(f"cluster:{path},text=review,label=topic")


def tiny_reader() -> RunReader:
    """An untrained encoder with a character tokenizer."""
    tokenizer = char_tokenizer(["abcdefghijklmnopqrstuvwxyz ABCDEFGHIJ 0123456789"] * 2, 64)
    shape = EncoderShape(
        hidden_size=16, num_layers=1, num_heads=1, mlp_size=16, max_length=32,
        vocab_size=tokenizer.vocabulary.size,
    )  # fmt: skip
    return RunReader(Encoder(shape, 0), TokenHead(shape), tokenizer, "masked")


def test_an_encoder_is_scored_on_both_kinds(tmp_path: Path) -> None:
    docs = write(tmp_path / "topics.csv", reviews())
    reader = tiny_reader()
    for argument in (
        f"retrieve:{beir(tmp_path / 'search')}",
        f"cluster:{docs},text=review,label=topic",
    ):
        task, splits = load(argument)
        score = task.score(reader, splits, NOISE)
        chance = task.chance_of(splits)
        assert chance is not None
        assert chance < score.value <= 1.0, argument  # characters in common
        assert score.stderr > 0
        assert len(score.outcomes) == {"retrieval": 16, "clustering": 80}[task.family]


@pytest.mark.slow
def test_both_kinds_run_in_one_command(tmp_path: Path) -> None:
    beir(tmp_path / "search")
    write(tmp_path / "topics.csv", reviews())
    write_text(tmp_path)
    command = [
        sys.executable, "-P", "-m", "bench", "run", "--objective", "token", "--seeds", "0-1",
        "--corpus", "text.txt", "--budget", "20k", "--set", "encoder.hidden_size=32",
        "--task", "retrieve:docs=search/corpus.jsonl,queries=search/queries.jsonl,"
        "qrels=search/qrels/test.tsv,name=search",
        "--task", "cluster:topics.csv,text=review,label=topic",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BENCH_CACHE": str(tmp_path / "cache")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    compared = subprocess.run(
        [*command[:4], "compare", "--format", "json"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    rows = {(row["objective"], row["column"]): row for row in json.loads(compared.stdout)}
    for objective in ("token", "untrained", "majority", "bag_of_words", "bm25"):
        for metric in ("ndcg@10", "recall@100", "mrr@10"):
            row = rows[objective, f"search {metric}"]
            assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
    assert rows["bm25", "search mrr@10"]["mean"] == 1.0
    assert rows["token", "search ndcg@10"]["chance"] > 0
    for objective in ("token", "untrained", "majority", "bag_of_words"):
        assert 0 <= rows[objective, "topics"]["mean"] <= 1
    assert rows["bag_of_words", "topics"]["low"] > rows["token", "topics"]["chance"]
    assert rows["token", "topics"]["metric"] == "v_measure"
