"""The tokens of a text as arrays, with the start of each word.

The words are those of the pre-tokenizer, read from `Encoding.word_ids`. The usual alternative, gaps
between offsets, finds no words in byte-level tokens. In a script that is written without spaces the
words are those that the pre-tokenizer cuts.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int32
    from tokenizers import Encoding


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedText:
    """The tokens of one text, with nothing added before or after. N tokens."""

    ids: Int32[np.ndarray, " N"]
    word_start: np.ndarray
    """Bool, shape [N]: the token starts a word."""
    starts: Int32[np.ndarray, " N"]
    """Index of the token's first character; tokens of the same character share it."""
    ends: Int32[np.ndarray, " N"]
    """Index after the token's last character."""
    dropped: int = 0
    """Characters in no token, white space left aside: the tokenizer drops them."""


def join(parts: Sequence[EncodedText], bounds: Sequence[int]) -> EncodedText:
    """The tokens of a text that was cut at `bounds` and encoded part by part.

    A cut lies inside a word, so that no word starts at it.
    """
    starts = [part.word_start.copy() for part in parts]
    for later in starts[1:]:
        later[:1] = False
    return EncodedText(
        ids=np.concatenate([part.ids for part in parts]),
        word_start=np.concatenate(starts),
        starts=np.concatenate([p.starts + low for p, low in zip(parts, bounds, strict=False)]),
        ends=np.concatenate([p.ends + low for p, low in zip(parts, bounds, strict=False)]),
        dropped=sum(part.dropped for part in parts),
    )


def to_arrays(texts: Sequence[str], encodings: Sequence[Encoding]) -> Iterator[EncodedText]:
    """Convert the library's lists to arrays and mark word starts, for all texts at once.

    A token starts a word if the pre-tokenizer says so, or if white space is its first character or
    was dropped right before it (in tokenizers that do not cut at white space beforehand). A token
    that starts inside the character of the previous token is the rest of that character.
    """
    flat = itertools.chain.from_iterable
    bounds = np.cumsum([0, *(len(encoding) for encoding in encodings)])
    total = int(bounds[-1])
    ids = np.fromiter(flat(e.ids for e in encodings), dtype=np.int32, count=total)
    pairs = np.fromiter(flat(flat(e.offsets for e in encodings)), np.int32, 2 * total)
    starts, ends = pairs[::2].copy(), pairs[1::2].copy()
    words = np.array([*flat(e.word_ids for e in encodings)], dtype=np.float64)  # None: NaN
    first = bounds[:-1][bounds[:-1] < bounds[1:]]
    is_start = np.append(True, words[1:] != words[:-1])[:total]
    is_start[first] = True
    ends_before = np.append(0, ends)[:total]
    blank = _is_blank("\0".join(["", *texts, ""]))
    lengths = [len(text) + 1 for text in texts]
    here = starts + np.repeat(np.cumsum([1, *lengths])[:-1], np.diff(bounds))
    is_start |= (starts >= ends_before) & (blank[here] | ((starts > ends_before) & blank[here - 1]))
    begins = np.cumsum([1, *lengths])
    there = here + (ends - starts)
    size = len(blank) + 1
    depth = np.bincount(here, minlength=size) - np.bincount(there, minlength=size)
    is_dropped = (depth.cumsum()[:-1] <= 0) & ~blank
    for low, high, begin, length in zip(bounds, bounds[1:], begins, lengths, strict=False):
        # Copies, because a view would keep the arrays of all texts in memory.
        yield EncodedText(
            ids=ids[low:high].copy(),
            word_start=is_start[low:high].copy(),
            starts=starts[low:high].copy(),
            ends=ends[low:high].copy(),
            dropped=int(is_dropped[begin : begin + length - 1].sum()),
        )


def _is_blank(text: str) -> np.ndarray:
    """True at characters that are white space."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    return _BLANKS[np.minimum(codes, len(_BLANKS) - 1)]


_BLANKS = np.array(
    [chr(code).isspace() for code in range(0x3002)]
)  # U+3000 is the last white space
