"""The published tasks, loaded from small data with the columns that the hub documents."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing.data.generated import GeneratedTask
from bench.probing.data.self_supervised import SelfSupervised
from bench.probing.task import DataRoot
from tests.helpers.paths import SHARED
from tests.helpers.registry import REGISTRY

REAL = SHARED / "tasks"
TASKS = {
    name: cls
    for name, cls in REGISTRY.of("task").items()
    if not issubclass(cls, GeneratedTask | SelfSupervised)
}
NOISE = Noise(0, 0, torch.arange(1))
PHENOMENA = importlib.import_module(TASKS["negation_npi"].__module__).PHENOMENA
COLUMNS = {
    "text classification": {"text", "label"},
    "pair classification": {"text", "text_pair", "label"},
    "similarity": {"text", "text_pair", "score"},
    "tagging": {"words", "labels"},
    "minimal pairs": {"good", "bad", "bucket"},
    "span extraction": {"question", "context", "answers"},
    "retrieval": {"text", "relevant"},
    "clustering": {"text", "label"},
    "fill in": {"text", "start", "end"},
}
N = 12
TEXTS = [f"sentence number {i} ." for i in range(N)]
OTHERS = [f"another one , {i} ." for i in range(N)]
LABELS = [i % 2 for i in range(N)]
TOKENS = [["Mr", "Reed", "left"]] * N


def pair(first: str, second: str, label: str = "label") -> dict[str, list]:
    return {first: TEXTS, second: OTHERS, label: LABELS}


HUB = {  # folder: (splits, columns), as the hub documents them
    "glue/sst2": (("train", "validation"), {"sentence": TEXTS, "label": LABELS}),
    "glue/cola": (("train", "validation"), {"sentence": TEXTS, "label": LABELS}),
    "glue/mrpc": (("train", "test"), pair("sentence1", "sentence2")),
    "glue/rte": (("train", "validation"), pair("sentence1", "sentence2")),
    "glue/qnli": (("train", "validation"), pair("question", "sentence")),
    "glue/qqp": (("train", "validation"), pair("question1", "question2")),
    "glue/mnli": (("train", "validation_matched"), pair("premise", "hypothesis")),
    "glue/stsb": (("train", "validation"), pair("sentence1", "sentence2")),
    "sick": (
        ("train", "test"),
        pair("sentence_A", "sentence_B") | {"relatedness_score": np.linspace(1, 5, N)},
    ),
    "subj": (("train", "test"), {"text": TEXTS, "label": LABELS}),
    "cr": (("train", "test"), {"text": TEXTS, "label": LABELS}),
    "trec": (("train", "test"), {"text": TEXTS, "coarse_label": LABELS, "fine_label": LABELS}),
    "twentynewsgroups": (("train", "test"), {"text": [*TEXTS[:-1], " "], "label": LABELS}),
    "ag_news": (("train", "test"), {"text": TEXTS, "label": LABELS}),
    "super_glue/boolq": (("validation",), pair("question", "passage")),
    "super_glue/wic": (
        ("train", "validation"),
        pair("sentence1", "sentence2")
        | {"start1": [0] * N, "end1": [8] * N, "start2": [8] * N, "end2": [11] * N},
    ),
    "super_glue/wsc": (
        ("train", "validation"),
        {"text": TEXTS, "span1_index": [1] * N, "span1_text": ["Number"] * N, "label": LABELS}
        | {"span2_index": [3] * N, "span2_text": ["it."] * N},
    ),
    "universal_dependencies/en_ewt": (
        ("train", "test"),
        {"tokens": TOKENS, "upos": [["NOUN", "PROPN", "_"]] * N},
    ),
    "conll2000": (("train", "test"), {"tokens": TOKENS, "chunk_tags": [[11, 12, 21]] * N}),
    "wnut_17": (("train", "test"), {"tokens": TOKENS, "ner_tags": [[9, 10, 0]] * N}),
    "conll2003": (("train", "test"), {"tokens": TOKENS, "ner_tags": [[1, 2, 0]] * N}),
    "squad": (
        ("train", "validation"),
        {"question": OTHERS, "context": TEXTS}
        | {"answers": [{"text": ["number"], "answer_start": [9]}] * N},
    ),
    "lambada_openai": (("test",), {"text": [f"{text[:-2]}\n" for text in TEXTS]}),
    "blimp": (
        ("train",),
        {"sentence_good": TEXTS, "sentence_bad": OTHERS, "field": ["a/b"] * N}
        | {"UID": [PHENOMENA[i % len(PHENOMENA)] for i in range(N)]},
    ),
    "senteval/sentence_length": (("train", "test"), {"sentence": TEXTS, "label": LABELS}),
    "ud_probing/tree_depth": (("train", "test"), {"sentence": TEXTS, "label": LABELS}),
}
COLLECTIONS = ("arguana", "cranfield", "nfcorpus", "scifact")
SENTEVAL = ("word_content", "past_present", "subj_number", "obj_number", "bigram_shift")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all data")
    for name, (splits, columns) in HUB.items():
        (folder / name).mkdir(parents=True)
        for split in splits:
            pd.DataFrame(columns).to_parquet(folder / name / f"{split}.parquet")
    for name in (*SENTEVAL, "odd_man_out"):
        parts = ["tr", "tr", "va", "te", "te", "te"] * 8
        lines = [f'{part}\t{"AB"[i % 2]}\tsay "{i}" .' for i, part in enumerate(parts)]
        (folder / "senteval" / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, columns in {
        "corpus": {"_id": [*"abcdefghijkl"], "title": TEXTS, "text": OTHERS},
        "queries": {"_id": [*"abcdefghijkl"], "text": TEXTS},
        "qrels_test": {"query-id": [*"aab"], "corpus-id": [*"bca"], "score": [4, 0, 1]},
    }.items():
        for collection in COLLECTIONS:
            (folder / collection).mkdir(exist_ok=True)
            pd.DataFrame(columns).to_parquet(folder / collection / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_loads_the_hubs_columns(name: str, root: Path) -> None:
    task = TASKS[name]()
    assert all((task.summary, task.source, task.metric, task.size))
    data = DataRoot(root)
    task.require(data)
    loaded = task.load(data)
    assert 0 <= task.chance_of(loaded) < 1
    assert set(loaded.test.columns) >= COLUMNS[task.family]
    assert len(loaded.test) > 0
    assert loaded.sha256 == task.load(data).sha256
    with pytest.raises(BenchError, match="looked for"):
        task.require(DataRoot(root / "senteval"))


def load(name: str, root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    splits = TASKS[name]().load(DataRoot(root))
    return splits.train, splits.test


def test_words_in_context_have_character_ranges(root: Path) -> None:
    _, test = load("wic", root)
    assert (test["text"][0][slice(*test["span"][0])], test["span_pair"][0]) == ("sentence", (8, 11))
    _, test = load("wsc", root)
    assert test["text"][0][slice(*test["span"][0])] == "number"
    assert test["text_pair"][0][slice(*test["span_pair"][0])] == "."  # cut at the text's end


def test_tags_are_names(root: Path) -> None:
    assert load("chunking", root)[0]["labels"][0] == ["B-NP", "I-NP", "B-VP"]
    assert load("wnut17", root)[0]["labels"][0] == ["B-person", "I-person", "O"]
    assert load("conll2003", root)[0]["labels"][0] == ["B-PER", "I-PER", "O"]


def test_answers_hidden_words_and_judgements(root: Path) -> None:
    assert load("squad", root)[1]["answers"][0] == [{"text": "number", "start": 9}]
    row = load("lambada", root)[1].iloc[11]
    assert row["text"][row["start"] : row["end"]] == "11"
    documents, queries = load("cranfield", root)
    assert documents["text"][0] == f"{TEXTS[0]} {OTHERS[0]}"
    assert queries["relevant"].tolist() == [
        {"b": 4.0},
        {"a": 1.0},
    ]  # the others have no relevant document
    assert "excluded" not in queries
    assert load("arguana", root)[1]["excluded"].tolist() == ["a", "b"]


def test_no_suite_has_the_name_of_a_task() -> None:
    """`--tasks NAME` would mean the suite, and the task could not be named."""
    from bench.experiment.tasks import task_suites

    assert not set(task_suites(REGISTRY)) & set(REGISTRY.of("task"))


def test_negation_has_equally_many_pairs_of_its_phenomena(root: Path, tmp_path: Path) -> None:
    _, test = load("negation_npi", root)
    assert test["bucket"].tolist()[: len(PHENOMENA)] == list(PHENOMENA)
    (tmp_path / "blimp").mkdir()
    pairs = {"sentence_good": TEXTS, "sentence_bad": OTHERS}
    rows = [*PHENOMENA[1:], *["wh_island"] * (N + 1 - len(PHENOMENA))]
    pd.DataFrame(pairs | {"UID": rows}).to_parquet(tmp_path / "blimp" / "train.parquet")
    with pytest.raises(BenchError, match=f"no pairs of {PHENOMENA[0]}"):
        load("negation_npi", tmp_path)


def test_boolq_without_train_is_divided_by_passage(root: Path) -> None:
    train, test = load("boolq", root)
    assert len(train) + len(test) == N
    assert not set(train["text_pair"]) & set(test["text_pair"])


def test_sentevals_own_files_are_loaded_and_their_faults_named(root: Path, tmp_path: Path) -> None:
    train, test = load("odd_word_out", root)
    assert (len(train), len(test)) == (16, 24)
    assert train["text"][1] == 'say "1" .'
    (tmp_path / "senteval").mkdir()
    path = tmp_path / "senteval" / "word_content.txt"
    path.write_text("tr\ta\tfine\nte\tb")
    with pytest.raises(BenchError, match=r"word_content\.txt, row 2: 2 fields"):
        load("word_content", tmp_path)
    path.write_bytes(b"tr\ta\t\xff")
    with pytest.raises(BenchError, match="not UTF-8"):
        load("word_content", tmp_path)


REAL_ONLY = pytest.mark.skipif(not REAL.is_dir(), reason="needs the data in ../shared/data")
BAGS = {  # with 2.5 standard errors of the test split for another vocabulary and C
    "sst2": 0.840, "cola": 0.136, "subj": 0.897, "cr": 0.790, "sentence_length": 0.402,
    "tree_depth": 0.404, "past_present": 0.896, "subj_number": 0.784, "obj_number": 0.652,
    "bigram_shift": 0.597,
}  # fmt: skip


@pytest.mark.slow
@REAL_ONLY
@pytest.mark.parametrize("name", BAGS)
def test_a_bag_of_words_scores_as_published_with_the_data(name: str) -> None:
    task = TASKS[name]()
    bag = task.baselines(task.load(DataRoot(REAL)), NOISE)["bag_of_words"]
    assert bag.value == pytest.approx(BAGS[name], abs=2.5 * bag.stderr)


@pytest.mark.slow
@REAL_ONLY
def test_tf_idf_cosine_on_similarity_and_retrieval() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    _, test = load("stsb", REAL)
    vectors = TfidfVectorizer().fit([*test["text"], *test["text_pair"]])
    u, v = (vectors.transform(test[column]) for column in ("text", "text_pair"))
    rho = spearmanr(np.asarray(u.multiply(v).sum(1)).ravel(), test["score"]).statistic
    assert rho == pytest.approx(0.693, abs=0.03)
    documents, queries = load("cranfield", REAL)
    vectors = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit(documents["text"])
    cosine = vectors.transform(queries["text"]) @ vectors.transform(documents["text"]).T
    discount = 1 / np.log2(np.arange(2, 12))
    values = []
    for row, relevant in zip(cosine.toarray(), queries["relevant"], strict=True):
        best = documents["id"].to_numpy()[np.argsort(-row, kind="stable")[:10]]
        ideal = sorted(relevant.values(), reverse=True)[:10]
        gains = [relevant.get(one, 0.0) for one in best]
        values.append(gains @ discount / (ideal @ discount[: len(ideal)]))
    assert np.mean(values) == pytest.approx(0.338, abs=0.04)


@pytest.mark.slow
@REAL_ONLY
@pytest.mark.parametrize(
    "name", ["sst2", "mrpc", "rte", "mnli", "wic", "wsc", "boolq", "subj", "cr", "tree_depth"]
)
def test_chance_is_the_best_constant_answer(name: str) -> None:
    labels = load(name, REAL)[1]["label"].astype(str)
    share = labels.value_counts(normalize=True).max()
    if TASKS[name].metric == "f1":
        share = 2 * (labels == "1").mean() / (1 + (labels == "1").mean())
    error = (share * (1 - share) / len(labels)) ** 0.5 * (name == "boolq")  # its split is ours
    assert TASKS[name].chance == pytest.approx(share, abs=0.001 + 2 * error)


def test_one_message_names_all_missing_data(root: Path, tmp_path: Path) -> None:
    from bench.experiment.tasks import require_data

    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "rte").symlink_to(root / "glue" / "rte")
    tasks = {name: TASKS[name] for name in ("sst2", "rte", "trec")}
    with pytest.raises(BenchError, match=r"2 of 3 tasks have no data\n  sst2: no train split") as e:
        require_data(tasks, DataRoot(tmp_path))
    assert "\n  trec: no train split" in str(e.value)
    assert str(e.value).endswith("the other tasks can be evaluated: --tasks rte")
    require_data({"rte": TASKS["rte"]}, DataRoot(tmp_path))
    with pytest.raises(BenchError, match=r"^no train split of trec"):
        require_data({"trec": TASKS["trec"]}, DataRoot(tmp_path))


def test_a_suite_goes_on_without_the_tasks_that_it_cannot_evaluate(
    root: Path, tmp_path: Path
) -> None:
    from bench.experiment.tasks import from_suites, require_data

    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "rte").symlink_to(root / "glue" / "rte")
    tasks = {name: TASKS[name] for name in ("sst2", "rte")}
    optional = from_suites("glue", REGISTRY)
    assert {"sst2", "rte"} <= optional
    without = require_data(tasks, DataRoot(tmp_path), optional)
    assert list(without) == ["sst2"]
    assert "no train split" in without["sst2"]
    named = from_suites("glue,sst2", REGISTRY)
    assert "sst2" not in named  # who names a task wants it
    with pytest.raises(BenchError, match="no train split"):
        require_data(tasks, DataRoot(tmp_path), named)
    with pytest.raises(BenchError, match="no train split"):
        require_data({"sst2": TASKS["sst2"]}, DataRoot(tmp_path), optional)


def test_messages_without_text_are_left_out(root: Path) -> None:
    train, test = load("twentynewsgroups", root)
    assert (len(train), len(test)) == (N - 1, N - 1)


def test_newsgroups_come_from_the_folder_of_scikit_learn_where_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.datasets

    calls = []

    def stored(subset: str, **options: object) -> object:
        calls.append(options)
        texts = [f"{subset} {i}" for i in range(20)]
        return sklearn.utils.Bunch(data=texts, target=[0, 1] * 10, target_names=["a.b", "c.d"])

    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", stored)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task = TASKS["twentynewsgroups"]()
    with pytest.raises(BenchError, match="twentynewsgroups"):
        task.require(DataRoot())  # neither at hand nor on the hub
    assert not calls
    (tmp_path / "20news-bydate_py3.pkz").touch()
    task.require(DataRoot())
    splits = task.load(DataRoot())
    assert (len(splits.train), splits.test["label"].tolist()[:2]) == (20, ["a.b", "c.d"])
    assert all(options["download_if_missing"] is False for options in calls)
    assert all(options["remove"] == ("headers", "footers", "quotes") for options in calls)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_names_the_files_that_it_needs(name: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    for file in ("corpus", "queries"):
        (tmp_path / name / f"{file}.parquet").symlink_to(root / name / f"{file}.parquet")
    with pytest.raises(BenchError) as caught:
        TASKS[name]().require(DataRoot(tmp_path))
    message = str(caught.value)
    assert f"{name}/qrels_test.parquet; its folder has ['corpus" in message
    for file in ("corpus", "queries", "qrels_test"):
        assert f"{name}/{file}.parquet" in message.split("the collection is ")[1]
