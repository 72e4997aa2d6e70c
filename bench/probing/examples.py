"""Labelled examples of a task that fits a probe, and their frozen features.

Each text of a pair is encoded alone, so every text goes through the encoder once, whatever it is
paired with. The probe then sees how the two vectors u and v differ (|u - v|) and where they agree
(u * v), as in InferSent and SentEval (Conneau et al. 2017).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.probing.reader.batching import Span
    from bench.probing.task import Reader

Targets = Sequence[str] | Sequence[tuple[str, ...]] | np.ndarray
"""Names of classes; sets of names; or numbers, as an array of floats."""
Join = Callable[[Any, Any], tuple[Any, ...]]
"""The features of a pair from its two vectors, arrays or tensors; the caller concatenates them."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Labels with the features that a probe predicts them from. T labels, S layers, P poolings."""

    features: Float[np.ndarray, "T S P D"]
    labels: Targets
    types: Sequence[str]
    """The input of a predictor without any encoder: the word, or the text."""
    units: Int[np.ndarray, " T"]
    """The text of each label; no text is divided between dev and the rest."""
    others: Float[np.ndarray, "T S P D"] | None = None
    """The features of the second texts, where the examples are pairs."""
    join: Join | None = None

    @property
    def grid_shape(self) -> tuple[int, int]:
        """The numbers of layers and poolings."""
        return self.features.shape[1], self.features.shape[2]

    def at(
        self, layer: int, pooling: int, rows: np.ndarray | slice = slice(None)
    ) -> Float[np.ndarray, "T W"]:
        """The probe's input at one layer and pooling.

        Pairs are joined only here: all layers at once would take four times the features' memory.
        """
        own = self.features[rows, layer, pooling].astype(np.float64)
        if self.others is None or self.join is None:
            return own
        other = self.others[rows, layer, pooling].astype(np.float64)
        return np.concatenate(self.join(own, other), axis=1)

    @property
    def width(self) -> int:
        """The number of columns at one layer and pooling."""
        return int(self.at(0, 0, np.arange(1)).shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """The examples of a split: texts or pairs of texts, perhaps words in them, and their labels."""

    texts: Sequence[str]
    labels: Targets
    """One per text; with `spans`, one per word."""
    types: Sequence[str]
    spans: Sequence[Sequence[Span]] | None = None
    """The words of each text that have a label."""
    pairs: Sequence[str] | None = None
    """The second texts."""
    pair_spans: Sequence[Sequence[Span]] | None = None
    """The word of each second text."""
    join: Join | None = None

    @property
    def units(self) -> Int[np.ndarray, " T"]:
        """The text of each label."""
        if self.spans is None:
            return np.arange(len(self.texts))
        return np.repeat(np.arange(len(self.texts)), [len(words) for words in self.spans])

    @property
    def num_texts(self) -> int:
        """The number of texts; both of a pair count."""
        return len(self.texts) + len(self.pairs or ())

    def encode(self, reader: Reader) -> tuple[LabelledFeatures, int]:
        """The frozen features, and the number of texts that were cut."""
        features, truncated = _encode(reader, self.texts, self.spans)
        others = None
        if self.pairs is not None:
            others, truncated_pairs = _encode(reader, self.pairs, self.pair_spans)
            truncated += truncated_pairs
        labelled = LabelledFeatures(
            features, self.labels, self.types, self.units, others, self.join
        )
        return labelled, truncated


def _encode(
    reader: Reader, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None
) -> tuple[Float[np.ndarray, "T S P D"], int]:
    features = reader.features(texts, spans)
    if spans is None:
        return features.pooled, features.truncated
    assert features.spans is not None  # spans were requested
    return features.spans, features.truncated


def ordered_join(u: Any, v: Any) -> tuple[Any, ...]:
    """u, v, |u - v|, u * v: for labels that may depend on which text comes first."""
    return u, v, abs(u - v), u * v


def symmetric_join(u: Any, v: Any) -> tuple[Any, ...]:
    """|u - v|, u * v: the same for both orders of the texts."""
    return abs(u - v), u * v
