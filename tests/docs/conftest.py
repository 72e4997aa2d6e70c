"""A folder with every file that the examples of the documentation mention."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.corpus.microworld import Micro
from bench.storage import exclusive
from tests.records.test_store import make_run, make_score

NUM_ROWS = 80
TASKS = ("sense_left", "sense_right", "word_class")
SENTENCE = "the old gate near a red wall by the lake was sold and the horse found it again"


@pytest.fixture(scope="session")
def user_files(shared: Path) -> Path:
    """Texts, labels and task data, as a user would have them."""
    folder = shared / "files of the docs"
    with exclusive(shared / "docs.lock"):
        if not folder.exists():
            building = shared / "files of the docs, in the making"
            _write(building)
            building.rename(folder)
    return folder


@pytest.fixture(scope="session")
def finished_runs(shared: Path) -> Path:
    """Records of three objectives and the untrained encoder, three seeds each; no weights."""
    folder = shared / "records of the docs"
    with exclusive(shared / "docs.lock"):
        if not folder.exists():
            building = shared / "records of the docs, in the making"
            _write_records(building / "results")
            building.rename(folder)
    return folder / "results"


def _write(folder: Path) -> None:
    texts = folder / "my_texts"
    texts.mkdir(parents=True)
    documents = _documents()
    for name, part in (("a.txt", documents[::2]), ("b.txt", documents[1::2])):
        (texts / name).write_text("\n\n".join(part))
    pd.DataFrame({"body": documents}).to_csv(folder / "table.csv", index=False)
    words = SENTENCE.split()
    sentences = [" ".join([*words[i % 7 :], f"n{i}"]) for i in range(NUM_ROWS)]
    others = [" ".join([*words[i % 5 :], f"m{i}"]) for i in range(NUM_ROWS)]
    classes = [i % 2 for i in range(NUM_ROWS)]
    pd.DataFrame({"review": sentences, "stars": classes}).to_csv(
        folder / "reviews.csv", index=False
    )
    pairs = {"text": sentences, "text_pair": others, "same": classes}
    pd.DataFrame(pairs | {"rating": np.arange(NUM_ROWS) % 11}).to_csv(
        folder / "pairs.tsv", sep="\t", index=False
    )
    _write_lines(
        folder / "names.jsonl",
        [{"words": ["see", f"A{i}", "now"], "labels": ["O", "B-person", "O"]}
         for i in range(NUM_ROWS)],
    )  # fmt: skip
    _write_lines(
        folder / "answers.jsonl",
        [{"question": "what is near?", "context": text, "answers": "red wall"}
         for text in (f"{i} a gate near the red wall {i}" for i in range(NUM_ROWS))],
    )  # fmt: skip
    _write_lines(
        folder / "docs.jsonl",
        [{"_id": f"d{i}", "text": sentence} for i, sentence in enumerate(sentences)],
    )
    pd.DataFrame({"_id": range(NUM_ROWS), "text": others}).to_csv(
        folder / "queries.csv", index=False
    )
    (folder / "qrels.tsv").write_text("\n".join(f"{i} 0 d{i} 1" for i in range(NUM_ROWS)))
    _write_task_data(folder / "task_data", sentences, classes)


def _documents() -> list[str]:
    """A million generated words: enough held-out sentences for the suite `self`."""
    sentences = [
        text[0].upper() + text[1:].replace(" .", ".")
        for text in Micro(num_words=1_000_000).documents()
    ]
    return [" ".join(sentences[i : i + 12]) for i in range(0, len(sentences), 12)]


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows))


def _write_task_data(folder: Path, sentences: list[str], classes: list[int]) -> None:
    words = [sentence.split() for sentence in sentences]
    tags = [["NOUN" if len(word) > 3 else "DET" for word in row] for row in words]
    tables = {
        "glue/sst2": pd.DataFrame({"sentence": sentences, "label": classes}),
        "universal_dependencies/en_ewt": pd.DataFrame({"tokens": words, "upos": tags}),
        "blimp": pd.DataFrame(
            {
                "sentence_good": sentences,
                "sentence_bad": [sentence[::-1] for sentence in sentences],
                "field": "syntax",
                "UID": [f"rule_{i % 4}" for i in range(NUM_ROWS)],
            }
        ),
    }
    for name, frame in tables.items():
        place = folder / name
        place.mkdir(parents=True)
        for part in ("train", "test"):
            frame.to_parquet(place / f"{part}.parquet", index=False)


def _write_records(out: Path) -> None:
    draw = np.random.default_rng(0)
    easy = draw.random(100)
    for objective, level in (("token", 0.7), ("span", 0.6), ("causal", 0.5), ("untrained", 0.4)):
        for seed in range(3):
            tokens = 0 if objective == "untrained" else 2_000_000
            run = make_run(out, objective, seed, tokens=tokens)
            for task in TASKS:
                make_score(run, task, draw.random(100) * 0.5 + easy * 0.5 < level)
    for task in TASKS:
        make_score(out, task, draw.random(100) < 0.5, baseline="majority")
