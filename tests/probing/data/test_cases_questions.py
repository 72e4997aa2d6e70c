"""Faults that people's files of questions and answers have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from tests.probing.data.test_cases_labels import NOUNS, jsonl, load, notes, text_of, write


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
