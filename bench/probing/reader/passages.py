"""Vectors of every word of long texts.

A text longer than the encoder reads is cut into windows that overlap by half. A word in two windows
takes its vector from the window whose ends are farther away (the "maximum context" of BERT on
SQuAD). So every word has one vector, whatever the encoder's length.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.probing.reader.batching import Span
    from bench.probing.task import Reader

WORD = re.compile(r"\w+|[^\w\s]")
TEXTS_AT_ONCE = 32
"""Texts whose layers are all in memory before only one layer is kept."""


@dataclasses.dataclass(frozen=True, eq=False)
class Passages:
    """Texts as words with vectors. T words in all, P texts."""

    vectors: Float[np.ndarray, "T S D"]
    begin: Int[np.ndarray, " P+1"]
    """The index among all words at which each text's words begin."""


def words_of(text: str) -> list[Span]:
    """The character ranges of words and punctuation marks."""
    return [match.span() for match in WORD.finditer(text)]


def read_passages(reader: Reader, texts: Sequence[str], layer: int | None) -> Passages:
    """The vectors of every word, of one layer or (None) of all."""
    words = [words_of(text) for text in texts]
    parts = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = slice(start, start + TEXTS_AT_ONCE)
        vectors = _vectors(reader, texts[chunk], words[chunk])
        parts.append(vectors if layer is None else vectors[:, [layer]])
    begin = np.cumsum([0, *(len(own) for own in words)])
    return Passages(np.concatenate(parts), begin)


def _vectors(
    reader: Reader, texts: Sequence[str], words: Sequence[list[Span]]
) -> Float[np.ndarray, "T S D"]:
    owners, firsts, lasts = windows(reader, texts, words)
    words_of_window: list[list[int]] = [[] for _ in owners]
    order = []
    for text, own in enumerate(words):
        of_text = [w for w, owner in enumerate(owners) if owner == text]
        for word in range(len(own)):
            margin = [min(word - firsts[w], lasts[w] - word) for w in of_text]
            words_of_window[of_text[int(np.argmax(margin))]].append(word)
    window_texts, spans = [], []
    for owner, first, last, chosen in zip(owners, firsts, lasts, words_of_window, strict=True):
        own = words[owner]
        offset = own[first][0]
        window_texts.append(texts[owner][offset : own[last][1]])
        spans.append([(own[w][0] - offset, own[w][1] - offset) for w in chosen])
        order += [(owner, word) for word in chosen]
    vectors = reader.features(window_texts, spans).spans
    assert vectors is not None  # spans were requested
    return vectors[sorted(range(len(order)), key=order.__getitem__)]


def windows(
    reader: Reader, texts: Sequence[str], words: Sequence[list[Span]]
) -> tuple[list[int], list[int], list[int]]:
    """Text, first and last word of each window; as long as the encoder reads, half overlapping."""
    owners: list[int] = []
    firsts: list[int] = []
    lasts: list[int] = []
    open_at = [(text, 0) for text, own in enumerate(words) if own]
    while open_at:
        rests = [texts[text][words[text][first][0] :] for text, first in open_at]
        following = []
        for (text, first), room in zip(open_at, reader.readable(rests), strict=True):
            own = words[text]
            limit = own[first][0] + int(room)
            last = first
            while last + 1 < len(own) and own[last + 1][1] <= limit:
                last += 1
            owners.append(text)
            firsts.append(first)
            lasts.append(last)
            if last + 1 < len(own):
                following.append((text, first + max(1, (last + 1 - first) // 2)))
        open_at = following
    return owners, firsts, lasts
