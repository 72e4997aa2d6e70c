"""Files of one word per line: CoNLL-U, and CoNLL's columns (`word ... label`).

A blank line ends a sentence. In CoNLL-U, lines of a multiword token (`1-2`) and of an empty node
(`8.1`) are no words of the sentence; `_` is a value that is not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import BenchError

_HEADER = "id form lemma upos xpos feats head deprel deps misc"
CONLLU = tuple(_HEADER.split())
_SPACE = re.compile(r"[ \t]+")
_NOT_WORD = re.compile(r"\d+[-.]\d+")


def read_conllu(path: Path, text: str, notes: list[str]) -> list[dict[str, Any]]:
    """Sentences with all columns of CoNLL-U; `words` are the forms, and `labels` are the `upos`.

    Raises:
        BenchError: A line without ten columns.
    """
    rows, skipped = [], 0
    for sentence in _sentences(text):
        words = []
        for number, line in sentence:
            if line.startswith("#"):
                continue
            cells = line.split("\t")
            if len(cells) != len(CONLLU):
                raise BenchError(
                    f"{path}, line {number}: {len(cells)} columns; CoNLL-U has ten, separated by "
                    "tabs; name a file of other columns .conll"
                )
            if _NOT_WORD.fullmatch(cells[0]):
                skipped += 1
                continue
            words.append(cells)
        if words:
            columns: dict[str, Any] = dict(zip(CONLLU, _columns(words), strict=True))
            for name in CONLLU[3:]:
                columns[name] = [None if value == "_" else value for value in columns[name]]
            rows.append({"words": columns["form"], "labels": columns[CONLLU[3]], **columns})
    if skipped:
        notes.append(
            f"{path.name}: lines of multiword tokens and empty nodes, which are no words: {skipped}"
        )
    return rows


def read_conll(path: Path, text: str, notes: list[str]) -> list[dict[str, Any]]:
    """Sentences of CoNLL columns: the first is `words`, the last `labels`, also `column2`, ...

    Raises:
        BenchError: One column only, or a line with another number of columns than the others.
    """
    sentences = [[(n, _cells(line)) for n, line in sentence] for sentence in _sentences(text)]
    sentences = [[pair for pair in one if pair[1][0] != "-DOCSTART-"] for one in sentences]
    widths = (len(cells) for one in sentences for _, cells in one if not cells[0].startswith("#"))
    rows, width = [], next(widths, 0)
    for sentence in sentences:
        words = []
        for number, cells in sentence:
            if cells[0].startswith("#") and len(cells) != width:  # a comment
                continue
            if width < 2 or len(cells) != width:
                raise BenchError(
                    f"{path}, line {number}: {len(cells)} columns; each line needs a word and its "
                    f"label, and as many columns as the first ({width})"
                )
            words.append(cells)
        if words:
            columns = list(_columns(words))
            numbered = {f"column{i}": column for i, column in enumerate(columns, start=1)}
            rows.append({"words": columns[0], "labels": columns[-1], **numbered})
    return rows


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else _SPACE.split(line.strip(" "))


def _columns(words: list[list[str]]) -> Iterator[list[str]]:
    return (list(column) for column in zip(*words, strict=True))


def _sentences(text: str) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of each sentence."""
    sentence: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if line.strip():
            sentence.append((number, line))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence
