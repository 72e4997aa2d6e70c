"""Vectors of every word of long texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.corpus.words import word_spans
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.probing.reader.batching import Span
    from bench.probing.task import Reader

TEXTS_AT_ONCE = 32
"""Texts whose layers are all in memory before only one layer is kept."""


@dataclasses.dataclass(frozen=True, eq=False)
class Passages:
    """Texts as words with vectors. T words in all, P texts."""

    vectors: Float[np.ndarray, "T S D"]
    begin: Int[np.ndarray, " P+1"]
    """The index among all words at which each text's words begin."""


def read_passages(reader: Reader, texts: Sequence[str], layer: int | None) -> Passages:
    """The vectors of every word (its first token), of one layer or (None) of all."""
    words: list[list[Span]] = [word_spans(text) for text in texts]
    parts = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = slice(start, start + TEXTS_AT_ONCE)
        vectors = reader.features(texts[chunk], words[chunk]).spans
        assert vectors is not None  # spans were requested
        vectors = vectors[:, :, POOLINGS.index("first")]
        parts.append((vectors if layer is None else vectors[:, [layer]]).copy())
    begin = np.cumsum([0, *(len(own) for own in words)])
    return Passages(np.concatenate(parts), begin)
