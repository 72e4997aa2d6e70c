"""The tokens of a text as arrays, with the start of each word.

The words are those of the pre-tokenizer, read from `Encoding.word_ids`. The usual alternative, gaps
between offsets, finds no words in byte-level tokens. In a script that is written without spaces the
words are those that the pre-tokenizer cuts.

The tokens of a byte-level tokenizer are the bytes of the text, cut to pieces. So their offsets are
arithmetic on their lengths, and the library need not make a tuple of Python for every token.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
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


def to_arrays(
    texts: Sequence[str],
    encodings: Sequence[Encoding],
    num_bytes: Int32[np.ndarray, " V"] | None = None,
) -> Iterator[EncodedText]:
    """Convert the library's lists to arrays and mark word starts, for all texts at once.

    A token starts a word if the pre-tokenizer says so, or if white space is its first character or
    was dropped right before it (in tokenizers that do not cut at white space beforehand). A token
    that starts inside the character of the previous token is the rest of that character.

    Args:
        texts: The texts.
        encodings: The library's encoding of each.
        num_bytes: The lengths of the tokens of a byte-level tokenizer (see `token_lengths`).
    """
    flat = itertools.chain.from_iterable
    bounds = np.cumsum([0, *(len(encoding) for encoding in encodings)])
    total = int(bounds[-1])
    ids = np.fromiter(flat(e.ids for e in encodings), dtype=np.int32, count=total)
    offsets = None if num_bytes is None else _byte_offsets(texts, ids, bounds, num_bytes)
    is_whole = offsets is not None  # no character is dropped
    if offsets is None:
        pairs = np.fromiter(flat(flat(e.offsets for e in encodings)), np.int32, 2 * total)
        offsets = pairs[::2].copy(), pairs[1::2].copy()
    starts, ends = offsets
    words = np.array([*flat(e.word_ids for e in encodings)], dtype=np.float64)  # None: NaN
    first = bounds[:-1][bounds[:-1] < bounds[1:]]
    is_start = np.append(True, words[1:] != words[:-1])[:total]
    is_start[first] = True
    ends_before = np.append(0, ends)[:total]
    blank = _is_blank("\0".join(["", *texts, ""]))
    begins = np.cumsum([1, *(len(text) + 1 for text in texts)])
    here = starts + np.repeat(begins[:-1], np.diff(bounds))
    is_start |= (starts >= ends_before) & (blank[here] | ((starts > ends_before) & blank[here - 1]))
    dropped = [0] * len(texts)
    if not is_whole:
        dropped = _num_dropped(begins, here, here + (ends - starts), blank)
    for low, high, lost in zip(bounds, bounds[1:], dropped, strict=False):
        # Copies, because a view would keep the arrays of all texts in memory.
        yield EncodedText(
            ids=ids[low:high].copy(),
            word_start=is_start[low:high].copy(),
            starts=starts[low:high].copy(),
            ends=ends[low:high].copy(),
            dropped=lost,
        )


def _num_dropped(
    begins: np.ndarray, starts: np.ndarray, ends: np.ndarray, blank: np.ndarray
) -> list[int]:
    """The characters of each text that are in no token and no white space."""
    size = len(blank) + 1
    depth = np.bincount(starts, minlength=size) - np.bincount(ends, minlength=size)
    is_dropped = (depth.cumsum()[:-1] <= 0) & ~blank
    return [int(is_dropped[a : b - 1].sum()) for a, b in itertools.pairwise(begins)]


def token_lengths(canonical: str) -> Int32[np.ndarray, " V"] | None:
    """The number of bytes of each token; None if this is no tokenizer of this form.

    Args:
        canonical: A tokenizer in its canonical form (see `bench.corpus.tokenizer_json`).
    """
    from tokenizers import pre_tokenizers

    data = json.loads(canonical)
    model, added = data["model"], data["added_tokens"]
    before = data.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    is_byte_level = (
        model.get("type") == "BPE"
        and not data.get("normalizer")
        and not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and all(token["special"] for token in added)
        and [step.get("type") for step in steps] in (["ByteLevel"], ["Split", "ByteLevel"])
        and all(step.get("behavior", "Isolated") == "Isolated" for step in steps)
        and alphabet <= model["vocab"].keys()
    )
    if not is_byte_level:
        return None
    special = {token["content"] for token in added}
    if any(not alphabet.issuperset(token) for token in model["vocab"].keys() - special):
        return None
    lengths = np.zeros(max(model["vocab"].values()) + 1, dtype=np.int32)
    for token, place in model["vocab"].items():
        lengths[place] = 0 if token in special else len(token)
    return lengths


def _byte_offsets(
    texts: Sequence[str],
    ids: Int32[np.ndarray, " N"],
    bounds: np.ndarray,
    num_bytes: Int32[np.ndarray, " V"],
) -> tuple[Int32[np.ndarray, " N"], Int32[np.ndarray, " N"]] | None:
    """The first character of each token, and the one after its last, from the tokens' lengths.

    The library makes a tuple of Python for every token, which costs more than all other conversion.

    Returns:
        None if the tokens of a text do not have its bytes, and at most a space before them.
    """
    payload = np.frombuffer("".join(texts).encode("utf-8", "surrogatepass"), dtype=np.uint8)
    is_first = (payload & 0xC0) != 0x80
    places = np.append(np.flatnonzero(is_first), len(payload))  # of characters, in bytes
    begins = np.cumsum([0, *map(len, texts)])  # of texts, in characters
    lengths = num_bytes[ids].astype(np.int64)
    read = np.append(0, lengths.cumsum())
    spaces = np.diff(read[bounds]) - np.diff(places[begins])
    if not ((spaces == 0) | (spaces == 1)).all():
        return None
    shift = np.repeat(spaces.cumsum(), np.diff(bounds))
    text_begin = np.repeat(begins[:-1], np.diff(bounds))
    low = np.maximum(read[:-1] - shift, places[text_begin])
    high = read[1:] - shift
    character = np.append(is_first.cumsum() - 1, len(places) - 1)
    starts = character[low] - text_begin
    ends = np.where(high > low, character[high - 1] - text_begin, starts) + 1
    return starts.astype(np.int32), ends.astype(np.int32)


def _is_blank(text: str) -> np.ndarray:
    """True at characters that are white space."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    return _BLANKS[np.minimum(codes, len(_BLANKS) - 1)]


_BLANKS = np.array(
    [chr(code).isspace() for code in range(0x3002)]
)  # U+3000 is the last white space
