"""Label files of question answering: answers that stand in a context.

An answer without a place is looked up: the first place where it stands between other words, else
its first place. Questions without an answer (SQuAD 2) are left out and counted, because the family
knows no way to say that there is none.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bench.corpus.words import word_spans
from bench.errors import BenchError
from bench.probing.data.label_files.column import Column
from bench.probing.data.label_files.values import is_missing, items_of, parse_list
from bench.probing.data.user_kinds import FileTask
from bench.probing.families.span_extraction import SpanExtraction, overlap_f1, words_within

if TYPE_CHECKING:
    import pandas as pd

_WRITTEN = re.compile(r"\s*(\{|\[\s*['\"{])")
_ARRAY = re.compile(r"array\((\[.*?\])(?:,\s*dtype=\w+)?\)", re.DOTALL)
WELL = 0.99
"""A lower best possible score is said."""


class AnswerFile(FileTask, SpanExtraction):
    """Answers that stand in a context."""

    columns: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    metrics: ClassVar[tuple[str, ...]] = ("f1",)
    unit: ClassVar[str] = "context"

    def _read(self, columns: Mapping[str, Column]) -> pd.DataFrame:
        import pandas as pd

        column = columns["answers"]
        answered = [i for i, value in enumerate(column.values) if not has_no_answer(value)]
        if not answered:
            raise BenchError(
                f"{column.path}: none of the {len(column.values)} questions has an answer; each "
                "needs one that stands in its context"
            )
        if len(answered) < len(column.values):
            without = len(column.values) - len(answered)
            column.notes.append(
                f"{without} of {len(column.values)} questions have no answer; they are left out"
            )
        few = {
            role: dataclasses.replace(
                own, values=[own.values[i] for i in answered], rows=[own.rows[i] for i in answered]
            )
            for role, own in columns.items()
        }
        questions, contexts = few["question"].texts(), few["context"].texts()
        answers = [
            [_locate(item, context, few["answers"], i) for item in answer_items(value)]
            for i, (value, context) in enumerate(zip(few["answers"].values, contexts, strict=True))
        ]
        values: Any = {"question": questions, "context": contexts, "answers": answers}
        return pd.DataFrame(values, index=answered)

    def _agree(
        self, train: pd.DataFrame, test: pd.DataFrame, notes: list[str]
    ) -> tuple[pd.DataFrame, pd.DataFrame, str]:
        """Say where answers are no whole words, so that no answer can be right."""
        best = best_possible(test)
        if best < WELL:
            notes.append(
                f"the best possible f1 is {best:.3f}: answers begin or end within a word, and "
                "whole words are predicted"
            )
        return super()._agree(train, test, notes)


def best_possible(frame: pd.DataFrame) -> float:
    """The mean F1 of a scorer that knows every answer.

    It is less than 1 where answers begin or end within a word.
    """
    import numpy as np

    scores = []
    for context, own in zip(frame["context"], frame["answers"], strict=True):
        f1 = [0.0]
        for answer in own:
            text, words = str(answer["text"]), word_spans(context)
            inside = words_within(context, int(answer["start"]), len(text))
            if inside:
                guess = context[words[inside[0]][0] : words[inside[-1]][1]]
                f1 += [overlap_f1(str(other["text"]), guess) for other in own]
        scores.append(max(f1))
    return float(np.mean(scores))


def has_no_answer(value: Any) -> bool:
    """Whether a question has no answer: none at all, empty ones, or empty lists."""
    return all(is_missing(item.get("text")) for item in answer_items(value))


def answer_items(value: Any) -> list[dict[str, Any]]:
    """Answers of any layout as `text` and `start` (None: not given).

    They are a string, a list of strings, a list of objects, SQuAD's object of lists, or one of
    these as `to_csv` writes it.
    """
    if isinstance(value, str) and (written := _parse(value)) is not None:
        value = written
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if items_of(texts) is None:
            return [{"text": texts, "start": starts}]
        places = items_of(starts) or []
        return [
            {"text": text, "start": places[i] if i < len(places) else None}
            for i, text in enumerate(items_of(texts) or [])
        ]
    items = items_of(value)
    if items is None:
        return [{"text": value, "start": None}]
    return [one for item in items for one in answer_items(item)]


def _parse(text: str) -> Any:
    """A written list or object; None for a plain answer."""
    if not _WRITTEN.match(text):
        return None
    if "{" not in text:
        return parse_list(text)
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return read(_ARRAY.sub(r"\1", text.strip()))
    return None


def _locate(item: Mapping[str, Any], context: str, column: Column, row: int) -> dict[str, Any]:
    """An answer with its place.

    Raises:
        BenchError: It does not stand there, or nowhere in the context.
    """
    text, given = str(item["text"]), item["start"]
    try:
        start = _place(given)
    except ValueError:
        raise column.error(
            row, f"the start {given!r} of the answer {text[:60]!r} is no whole number; without a "
            "start it is looked up"
        ) from None  # fmt: skip
    if start is None:
        start = _find(text, context)
        if start < 0:
            raise column.error(
                row, f"the answer {text[:60]!r} is not in its context; answers must be copied from "
                "the context"
            )  # fmt: skip
    elif context[start : start + len(text)] != text:
        there = context[max(start, 0) : max(start, 0) + len(text)]
        raise column.error(
            row, f"the answer {text[:60]!r} does not stand at character {given} of its context, "
            f"where {there[:60]!r} stands; without a start it is looked up"
        )  # fmt: skip
    return {"text": text, "start": start}


def _place(given: Any) -> int | None:
    """The number of a character; None where it is not given (also as -1).

    Raises:
        ValueError: It is no whole number.
    """
    if is_missing(given):
        return None
    number = float(given)
    if not number.is_integer():  # infinity and NaN are none
        raise ValueError(given)
    return None if number < 0 else int(number)


def _find(text: str, context: str) -> int:
    """The first place between other words, else the first place, else -1."""
    whole = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", context)
    return whole.start() if whole else context.find(text)
