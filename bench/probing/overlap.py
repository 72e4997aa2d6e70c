"""Overlap of a test split with the training split and with the pretraining corpus.

A text overlaps where it shares thirteen words (or tokens) in a row with a text of the other set, as
in GPT-3's check (Brown et al. 2020). The corpus is compared as tokens, because its store has tokens
and the encoder read tokens; thirteen tokens are fewer words, so the check errs towards more
overlap. In a script without spaces a token can have several words (characters), and as many tokens
count as have thirteen words in the mean. One pass over the corpus, with a million tokens in memory
at a time, serves all tasks of a run, and the results are cached. The score on the other examples is
reported beside the score: no example is removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.corpus.words import plain_words
from bench.machine import beat
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


def corpus_overlap(
    prepared: Path, splits: Splits, others: Callable[[], Iterable[Splits]] = lambda: ()
) -> Overlap:
    """The overlap of a test split with the training part of a prepared corpus; cached beside it.

    Args:
        prepared: Folder of the prepared corpus.
        splits: The data of a task.
        others: The data of further tasks, which are looked for in the same pass over the corpus.
    """
    folder = prepared.parent.parent / "overlaps"

    def path(one: Splits) -> Path:
        return folder / f"{sha256_json([_FORMAT, prepared.name, one.sha256])[:32]}.json"

    if (known := _read(path(splits), len(splits.test))) is not None:
        return known
    try:
        with exclusive(folder / f"{prepared.name}.lock", beat):
            if (known := _read(path(splits), len(splits.test))) is not None:
                return known
            searches = {path(splits): _Search(prepared, splits)}
            for one in others():
                if path(one) not in searches and _read(path(one), len(one.test)) is None:
                    searches[path(one)] = _Search(prepared, one)
            _search(prepared, list(searches.values()))
            for file, search in searches.items():
                _write(file, search.overlap())
            return searches[path(splits)].overlap()
    except OSError:  # the cache cannot be written
        search = _Search(prepared, splits)
        _search(prepared, [search])
        return search.overlap()


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


class _Search:
    """The grams of one test split, and which of them the corpus contains."""

    def __init__(self, prepared: Path, splits: Splits) -> None:
        from bench.corpus.tokenizer import TextTokenizer

        tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
        rows = texts_of(splits.test)
        encoded = tokenizer.encode([text for row in rows for text in row])
        example = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        self.size = _gram_tokens(rows, sum(len(one.ids) for one in encoded))
        grams, owners = _grams([one.ids for one in encoded], self.size)
        self.targets, self._place = np.unique(grams, return_inverse=True)
        self.is_there = np.zeros(len(self.targets), dtype=bool)
        self._examples, self._num_examples = example[owners], len(rows)

    def overlap(self) -> Overlap:
        """The result, after the search."""
        seen, checked = np.zeros((2, self._num_examples), dtype=bool)
        checked[self._examples] = True
        seen[self._examples[self.is_there[self._place]]] = True
        return Overlap(seen, checked)


def _search(prepared: Path, searches: Sequence[_Search]) -> None:
    """Compare all test splits with the whole token store, in one pass."""
    by_size: dict[int, list[_Search]] = {}
    for search in searches:
        if len(search.targets):
            by_size.setdefault(search.size, []).append(search)
    filters = {}
    for size, own in by_size.items():  # most of the corpus is excluded by this filter
        filters[size] = np.zeros(1 << _FILTER_BITS, dtype=bool)
        for search in own:
            filters[size][_filter_place(search.targets)] = True
    for piece in _pieces(prepared) if by_size else ():
        beat()
        for size, own in by_size.items():
            hashes = gram_hashes(piece, size)
            hashes = hashes[filters[size][_filter_place(hashes)]]
            for search in own:
                at = np.minimum(np.searchsorted(search.targets, hashes), len(search.targets) - 1)
                search.is_there[at[search.targets[at] == hashes]] = True


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
        if stored.pop("sha256") != sha256_json(stored):
            return None
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
    write_atomic(path, json.dumps(stored | {"sha256": sha256_json(stored)}).encode())
    return overlap
