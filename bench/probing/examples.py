"""What a fitted task asks, and what an encoder's features say to it.

Two texts are read each by itself, so that every text goes through the encoder once whatever it
is paired with; what is read off the two vectors u and v then says how they differ (|u - v|) and
where they agree (u * v), as in InferSent and SentEval (Conneau et al. 2017).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.probing.task import POOLINGS, Reader, Span

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Targets = Sequence[str] | np.ndarray
"""Names of classes; or numbers, as an array of floats."""
Join = Callable[[Any, Any], tuple[Any, ...]]
"""What is read off two vectors, arrays or tensors alike; laid side by side by whoever reads it."""

FIRST_TOKEN = ("first sub-token",)


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Labels with the features they are to be read from. T labels, S layers, P poolings."""

    features: Float[np.ndarray, "T S P D"]
    labels: Targets
    types: Sequence[str]
    """What a probe could know a label by without any encoder: the word, or the text."""
    units: Int[np.ndarray, " T"]
    """The text of each label; a text is never cut in two."""
    others: Float[np.ndarray, "T S P D"] | None = None
    """Of the second text, where there are two."""
    join: Join | None = None

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Layers and poolings."""
        return self.features.shape[1], self.features.shape[2]

    def at(
        self, layer: int, pooling: int, rows: np.ndarray | slice = slice(None)
    ) -> Float[np.ndarray, "T W"]:
        """What a probe reads at one layer and pooling.

        Joined only here: all layers of four vectors at once would be four times the features.
        """
        own = self.features[rows, layer, pooling].astype(np.float64)
        if self.others is None or self.join is None:
            return own
        other = self.others[rows, layer, pooling].astype(np.float64)
        return np.concatenate(self.join(own, other), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """What is asked: one text or two, perhaps words of them, and what is wanted."""

    texts: Sequence[str]
    labels: Targets
    """One a text; with `spans`, one a word asked."""
    types: Sequence[str]
    spans: Sequence[Sequence[Span]] | None = None
    pairs: Sequence[str] | None = None
    """The second texts, and `pair_spans` the word asked of each."""
    pair_spans: Sequence[Sequence[Span]] | None = None
    join: Join | None = None

    @property
    def units(self) -> Int[np.ndarray, " T"]:
        """The text of each label."""
        if self.spans is None:
            return np.arange(len(self.texts))
        return np.repeat(np.arange(len(self.texts)), [len(words) for words in self.spans])

    @property
    def poolings(self) -> Sequence[str]:
        """The names of what `Labelled.features` has in its third place."""
        return POOLINGS if self.spans is None else FIRST_TOKEN

    def read(self, reader: Reader) -> tuple[Labelled, int]:
        """The frozen features, and how many texts were cut."""
        features, truncated = _read(reader, self.texts, self.spans)
        others = None
        if self.pairs is not None:
            others, more = _read(reader, self.pairs, self.pair_spans)
            truncated += more
        found = Labelled(features, self.labels, self.types, self.units, others, self.join)
        return found, truncated


def _read(
    reader: Reader, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None
) -> tuple[Float[np.ndarray, "T S P D"], int]:
    found = reader.features(texts, spans)
    if spans is None:
        return found.pooled, found.truncated
    assert found.spans is not None  # they were asked for
    return found.spans[:, :, None], found.truncated


def both_and_alikeness(u: Any, v: Any) -> tuple[Any, ...]:
    """u, v, |u - v|, u * v: for labels that may depend on which text comes first."""
    return u, v, abs(u - v), u * v


def alikeness(u: Any, v: Any) -> tuple[Any, ...]:
    """|u - v|, u * v: the same whichever text comes first."""
    return abs(u - v), u * v
