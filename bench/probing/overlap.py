"""Overlap of a test split with the training split and with the pretraining corpus.

A text overlaps where it shares thirteen words (or tokens) in a row with a text of the other set, as
in GPT-3's check (Brown et al. 2020). The corpus is compared as tokens, because its store has tokens
and the encoder read tokens; thirteen tokens are fewer words, so the check errs towards more
overlap. In a script without spaces a token can have several words (characters), and as many tokens
count as have thirteen words in the mean. It runs once for a corpus and a task's data, with a
million tokens in memory at a time, and its result is cached. The score on the other examples is
reported beside the score: no example is removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.corpus.words import plain_words
from bench.settings import sha256_json
from bench.storage import exclusive, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Int, UInt64

    from bench.probing.task import Score, Splits

GRAM = 13
SHORTEST_GRAM = 4
"""Fewest tokens in a row that count, where a token has several words."""
PIECE_TOKENS = 1 << 20
TEXT_COLUMNS = ("text", "text_pair", "good", "question", "context", "stereotype")
_FORMAT = 1
_FILTER_BITS = 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


@dataclasses.dataclass(frozen=True, eq=False)
class Overlap:
    """The overlap of a test split with the corpus. N test examples."""

    seen: Bool[np.ndarray, " N"]
    """Examples that the corpus contains."""
    checked: Bool[np.ndarray, " N"]
    """Examples with enough tokens for the check."""


def shares_words(train_texts: Sequence[str], test_texts: Sequence[str]) -> Bool[np.ndarray, " N"]:
    """The test texts that share thirteen words in a row with a training text."""
    numbers: dict[str, int] = {}

    def word_numbers(texts: Sequence[str]) -> list[Int[np.ndarray, " L"]]:
        words = (plain_words(text.lower()) for text in texts)
        return [np.array([numbers.setdefault(w, len(numbers)) for w in row]) for row in words]

    known, _ = _grams(word_numbers(train_texts))
    grams, owners = _grams(word_numbers(test_texts))
    seen = np.zeros(len(test_texts), dtype=bool)
    seen[owners[np.isin(grams, known)]] = True
    return seen


def corpus_overlap(prepared: Path, splits: Splits) -> Overlap:
    """The overlap of a test split with the training part of a prepared corpus; cached beside it."""
    folder = prepared.parent.parent / "overlaps"
    path = folder / f"{sha256_json([_FORMAT, prepared.name, splits.sha256])[:32]}.json"
    try:
        with exclusive(folder / f"{path.stem}.lock"):
            return _read(path, len(splits.test)) or _write(path, _search(prepared, splits))
    except OSError:  # the cache cannot be written
        return _search(prepared, splits)


def with_overlap(score: Score, overlap: Overlap) -> Score:
    """The score with its overlap with the corpus, and the value on the examples without overlap.

    A score whose outcomes do not name their test examples by number is returned as it is.
    """
    names = score.outcomes.get("example")
    if (
        names is None
        or names.dtype.kind not in "iu"
        or not names.between(0, len(overlap.seen) - 1).all()
    ):
        return score
    examples = names.to_numpy(dtype=np.int64)
    seen, checked = overlap.seen[examples], overlap.checked[examples]
    details = {
        "share": float(seen.mean()),
        "too_short_to_tell": float(1 - checked.mean()),
        "clean_value": _value(score.outcomes[~seen]) if not seen.all() else None,
    }
    return dataclasses.replace(score, details=score.details | {"corpus_overlap": details})


def texts_of(frame: pd.DataFrame) -> list[list[str]]:
    """All texts of each example."""
    columns: list[Iterable[Any]] = [frame[name] for name in TEXT_COLUMNS if name in frame]
    if "words" in frame:
        columns.append([" ".join(str(word) for word in words) for words in frame["words"]])
    if not columns:
        return [[] for _ in range(len(frame))]
    return [[str(text) for text in row] for row in zip(*columns, strict=True)]


def gram_hashes(ids: Int[np.ndarray, " L"], size: int = GRAM) -> UInt64[np.ndarray, " G"]:
    """A 64-bit number for each `size` ids in a row; none for a shorter row."""
    count = max(len(ids) - size + 1, 0)
    scrambled = _scramble(ids.astype(np.uint64) + np.uint64(1))
    hashes = np.zeros(count, dtype=np.uint64)
    for start in range(size if count else 0):
        hashes = hashes * _MULTIPLIER + scrambled[start : start + count]
    return _scramble(hashes)


def _search(prepared: Path, splits: Splits) -> Overlap:
    """Compare the test split with the whole token store, in one pass."""
    from bench.corpus.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
    rows = texts_of(splits.test)
    encoded = tokenizer.encode([text for row in rows for text in row])
    example = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    size = _gram_tokens(rows, sum(len(one.ids) for one in encoded))
    grams, owners = _grams([one.ids for one in encoded], size)
    targets, place = np.unique(grams, return_inverse=True)
    is_there = np.zeros(len(targets), dtype=bool)
    may_be = np.zeros(1 << _FILTER_BITS, dtype=bool)  # this filter excludes most of the corpus
    may_be[_filter_place(targets)] = True
    for piece in _pieces(prepared) if len(targets) else ():
        hashes = gram_hashes(piece, size)
        hashes = hashes[may_be[_filter_place(hashes)]]
        at = np.minimum(np.searchsorted(targets, hashes), len(targets) - 1)
        is_there[at[targets[at] == hashes]] = True
    seen, checked = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    checked[example[owners]] = True
    seen[example[owners[is_there[place]]]] = True
    return Overlap(seen, checked)


def _pieces(prepared: Path) -> Iterator[Int[np.ndarray, " L"]]:
    """The training stream in pieces that overlap, so that no gram between two pieces is lost."""
    from bench.corpus.store import TokenStore

    tokens = TokenStore.open(prepared / "train").tokens
    for low in range(0, max(len(tokens) - GRAM + 1, 1), PIECE_TOKENS):
        yield np.asarray(tokens[low : low + PIECE_TOKENS + GRAM - 1])


def _gram_tokens(rows: Sequence[Sequence[str]], num_tokens: int) -> int:
    """The number of tokens in a row that have thirteen words in the mean, at most thirteen."""
    num_words = sum(len(plain_words(text)) for row in rows for text in row)
    return min(GRAM, max(SHORTEST_GRAM, round(GRAM * num_tokens / max(num_words, 1))))


def _grams(
    rows: Sequence[Int[np.ndarray, " L"]], size: int = GRAM
) -> tuple[UInt64[np.ndarray, " G"], Int[np.ndarray, " G"]]:
    """The grams of all rows, and the row of each; no gram spans two rows."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    owners = np.repeat(np.arange(len(rows)), lengths)
    if len(owners) < size:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    hashes = gram_hashes(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]), size)
    first, last = owners[: len(hashes)], owners[size - 1 :]
    return hashes[first == last], first[first == last]


def _scramble(x: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    """A bijection on 64-bit numbers that mixes all bits."""
    x = (x ^ (x >> np.uint64(31))) * _MULTIPLIER
    mixed: np.ndarray = x ^ (x >> np.uint64(29))
    return mixed


def _filter_place(hashes: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    return hashes >> np.uint64(64 - _FILTER_BITS)


def _value(outcomes: pd.DataFrame) -> float:
    """The value on some examples only; for a coefficient, the mean of its outcomes."""
    if {"numerator", "denominator"} <= set(outcomes.columns):
        total = float(outcomes["denominator"].sum())
        return float(outcomes["numerator"].sum()) / total if total else 0.0
    return float(outcomes["outcome"].mean())


def _read(path: Path, count: int) -> Overlap | None:
    """The cached result; None where there is none, or a damaged one."""
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError, TypeError):
        stored = json.loads(path.read_bytes())
        seen, checked = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
        seen[stored["seen"]] = True
        checked[stored["too_short"]] = False
        return Overlap(seen, checked)
    return None


def _write(path: Path, overlap: Overlap) -> Overlap:
    stored = {
        "seen": np.flatnonzero(overlap.seen).tolist(),
        "too_short": np.flatnonzero(~overlap.checked).tolist(),
    }
    write_atomic(path, json.dumps(stored).encode())
    return overlap
