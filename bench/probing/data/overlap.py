"""What of a test was already seen: in the examples to train on, or in the corpus itself.

A text counts as seen where it shares thirteen words (or tokens) in a row with what was read, as
in GPT-3's check (Brown et al. 2020). The corpus is compared as tokens, because tokens are what its
store keeps and what the encoder was shown; thirteen tokens are fewer words, so this errs towards
finding. It is done once for a corpus and a task's data, a million tokens in memory at a time, and
remembered in the cache. The score on the rest is given beside the score: nothing is dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.settings import sha256_json
from bench.storage import exclusive, write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Int, UInt64

    from bench.probing.task import Score, Splits

GRAM = 13
PIECE_TOKENS = 1 << 20
TEXT_COLUMNS = ("text", "text_pair", "good", "question", "context")
_FORMAT = 1
_FILTER_BITS = 22
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


@dataclasses.dataclass(frozen=True, eq=False)
class Overlap:
    """What of a test split the corpus holds. N test examples."""

    seen: Bool[np.ndarray, " N"]
    checked: Bool[np.ndarray, " N"]
    """Long enough to be looked for."""


def shares_words(train_texts: Sequence[str], test_texts: Sequence[str]) -> Bool[np.ndarray, " N"]:
    """Which test texts have thirteen words in a row that some training text has too."""
    numbers: dict[str, int] = {}

    def numbered(texts: Sequence[str]) -> list[Int[np.ndarray, " L"]]:
        words = (_WORD.findall(text.lower()) for text in texts)
        return [np.array([numbers.setdefault(w, len(numbers)) for w in row]) for row in words]

    known, _ = _grams(numbered(train_texts))
    grams, owners = _grams(numbered(test_texts))
    seen = np.zeros(len(test_texts), dtype=bool)
    seen[owners[np.isin(grams, known)]] = True
    return seen


def corpus_overlap(prepared: Path, splits: Splits) -> Overlap:
    """What of a test split the training part of a prepared corpus holds; remembered there."""
    folder = prepared.parent.parent / "overlaps"
    path = folder / f"{sha256_json([_FORMAT, prepared.name, splits.sha256])[:32]}.json"
    try:
        with exclusive(folder / f"{path.stem}.lock"):
            return _remembered(path, len(splits.test)) or _kept(path, _look(prepared, splits))
    except OSError:  # a cache that cannot be written to remembers nothing
        return _look(prepared, splits)


def with_overlap(score: Score, overlap: Overlap) -> Score:
    """The score with what the corpus held of its examples, and the value on those it did not.

    As it was where its outcomes do not say by number which examples of the test split they are of.
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
    told = {
        "share": float(seen.mean()),
        "too_short_to_tell": float(1 - checked.mean()),
        "clean_value": _value(score.outcomes[~seen]) if not seen.all() else None,
    }
    return dataclasses.replace(score, details=score.details | {"corpus_overlap": told})


def texts_of(frame: pd.DataFrame) -> list[list[str]]:
    """All that is read of each example."""
    columns: list[Iterable[Any]] = [frame[name] for name in TEXT_COLUMNS if name in frame]
    if "words" in frame:
        columns.append([" ".join(str(word) for word in words) for words in frame["words"]])
    if not columns:
        return [[] for _ in range(len(frame))]
    return [[str(text) for text in row] for row in zip(*columns, strict=True)]


def gram_hashes(ids: Int[np.ndarray, " L"], size: int = GRAM) -> UInt64[np.ndarray, " G"]:
    """A 64-bit number for each `size` ids in a row; of a shorter row, none."""
    count = max(len(ids) - size + 1, 0)
    scrambled = _scramble(ids.astype(np.uint64) + np.uint64(1))
    found = np.zeros(count, dtype=np.uint64)
    for start in range(size if count else 0):
        found = found * _MULTIPLIER + scrambled[start : start + count]
    return _scramble(found)


def _look(prepared: Path, splits: Splits) -> Overlap:
    """Read the whole store once."""
    from bench.corpus.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
    rows = texts_of(splits.test)
    encoded = tokenizer.encode([text for row in rows for text in row])
    example = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    grams, owners = _grams([one.ids for one in encoded])
    wanted, place = np.unique(grams, return_inverse=True)
    is_there = np.zeros(len(wanted), dtype=bool)
    may_be = np.zeros(1 << _FILTER_BITS, dtype=bool)  # most of the corpus is told apart by this
    may_be[_filter_place(wanted)] = True
    for piece in _pieces(prepared) if len(wanted) else ():
        hashes = gram_hashes(piece)
        hashes = hashes[may_be[_filter_place(hashes)]]
        at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        is_there[at[wanted[at] == hashes]] = True
    seen, checked = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    checked[example[owners]] = True
    seen[example[owners[is_there[place]]]] = True
    return Overlap(seen, checked)


def _pieces(prepared: Path) -> Iterator[Int[np.ndarray, " L"]]:
    """The training stream in pieces that share as many tokens as no gram is lost between them."""
    from bench.corpus.store import TokenStore

    tokens = TokenStore.open(prepared / "train").tokens
    for low in range(0, max(len(tokens) - GRAM + 1, 1), PIECE_TOKENS):
        yield np.asarray(tokens[low : low + PIECE_TOKENS + GRAM - 1])


def _grams(
    rows: Sequence[Int[np.ndarray, " L"]],
) -> tuple[UInt64[np.ndarray, " G"], Int[np.ndarray, " G"]]:
    """The grams of all rows, and the row of each; none goes over from one row to the next."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    owners = np.repeat(np.arange(len(rows)), lengths)
    if len(owners) < GRAM:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    hashes = gram_hashes(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))
    first, last = owners[: len(hashes)], owners[GRAM - 1 :]
    return hashes[first == last], first[first == last]


def _scramble(x: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    """A bijection on 64-bit numbers that leaves no bit as it was."""
    x = (x ^ (x >> np.uint64(31))) * _MULTIPLIER
    mixed: np.ndarray = x ^ (x >> np.uint64(29))
    return mixed


def _filter_place(hashes: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    return hashes >> np.uint64(64 - _FILTER_BITS)


def _value(outcomes: pd.DataFrame) -> float:
    """Of some examples only; for a coefficient, the mean of what each adds to it."""
    if {"numerator", "denominator"} <= set(outcomes.columns):
        total = float(outcomes["denominator"].sum())
        return float(outcomes["numerator"].sum()) / total if total else 0.0
    return float(outcomes["outcome"].mean())


def _remembered(path: Path, count: int) -> Overlap | None:
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError, TypeError):
        found = json.loads(path.read_bytes())
        seen, checked = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
        seen[found["seen"]] = True
        checked[found["too_short"]] = False
        return Overlap(seen, checked)
    return None


def _kept(path: Path, overlap: Overlap) -> Overlap:
    found = {
        "seen": np.flatnonzero(overlap.seen).tolist(),
        "too_short": np.flatnonzero(~overlap.checked).tolist(),
    }
    write_atomic(path, json.dumps(found).encode())
    return overlap
