"""How embeddings of texts are read where cosines compare them: raw, centred or whitened.

Averaged features of a masked encoder point in one common direction, so the cosine of any two texts
is near one and a few directions of large variance decide the rest (Ethayarajh 2019). Subtracting
the mean, or whitening (Su et al. 2021), removes this, and which of the three is best differs from
encoder to encoder. Therefore it is a choice like layer and pooling: every encoder gets the same
trials, on the same examples. Mean and covariance come from texts without their labels.

With fewer texts than dimensions the sample covariance has no inverse. The covariance is that of
Ledoit and Wolf (2004): the sample's, shrunk towards a multiple of the identity, by an amount that
grows as texts become few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError
from bench.probing.protocol import Embedding
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from jaxtyping import Float, Int

MAX_TEXTS = 5_000
"""Of more texts, evenly spaced ones: the cost is that of their number times the width squared."""
SMALLEST_VARIANCE = 1e-6
"""Share of the largest variance: a direction with less is rounding error and is not enlarged."""


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingTransform:
    """A map of embeddings, estimated from texts. D width."""

    mean: Float[np.ndarray, " D"] | None = None
    """Subtracted; None: nothing is changed."""
    whitening: Float[np.ndarray, "D D"] | None = None
    """Multiplied from the right; None: centred only."""

    def __call__(self, x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
        """The embeddings, in float64."""
        x = x.astype(np.float64)
        if self.mean is not None:
            x = x - self.mean
        return x if self.whitening is None else x @ self.whitening


def fit_transform(name: Embedding, texts: Float[np.ndarray, "N D"]) -> EmbeddingTransform:
    """Estimate a transform from the embeddings of texts, one row each.

    Whitening is known up to a rotation, which changes no cosine.

    Raises:
        BenchError: The embeddings are not finite.
    """
    if name == "raw":
        return EmbeddingTransform()
    x = texts[spaced_places(len(texts))].astype(np.float64)
    if not np.isfinite(x).all():
        raise BenchError("the encoder's features are not finite, so they have no mean")
    mean = x.mean(0)
    if name == "centred":
        return EmbeddingTransform(mean)
    from sklearn.covariance import ledoit_wolf

    x = x - mean
    scale = float(np.sqrt((x**2).mean()))
    if scale == 0.0:  # all texts have one embedding
        return EmbeddingTransform(mean)
    covariance, _ = ledoit_wolf(x / scale, assume_centered=True)
    variances, directions = np.linalg.eigh(covariance)
    variances = np.maximum(variances, SMALLEST_VARIANCE * variances[-1])
    return EmbeddingTransform(mean, directions / (scale * np.sqrt(variances)))


def spaced_places(count: int, most: int = MAX_TEXTS) -> Int[np.ndarray, " K"]:
    """The places of at most `most` (and `MAX_TEXTS`) of `count` texts, evenly spaced."""
    places: Int[np.ndarray, " K"] = (
        np.linspace(0, count - 1, min(count, most, MAX_TEXTS)).round().astype(np.int64)
    )
    return places


@dataclasses.dataclass(frozen=True)
class EmbeddingChoice:
    """The embedding, layer and pooling with the highest dev score."""

    embedding: Embedding
    layer: int
    pooling: int
    grids: dict[str, list[list[float]]]
    """Embedding to the dev scores of all layers and poolings."""

    def describe(self) -> dict[str, Any]:
        """The choice with everything that was tried, as JSON values."""
        return {
            "embedding": self.embedding,
            "layer": self.layer,
            "pooling": POOLINGS[self.pooling],
            "poolings": list(POOLINGS),
            "grid": self.grids[self.embedding],
            "grids": self.grids,
            "embeddings": {name: float(np.max(grid)) for name, grid in self.grids.items()},
        }


def choose_embedding(
    embeddings: Sequence[Embedding],
    grid_shape: tuple[int, int],
    dev_score: Callable[[Embedding, int, int], float],
) -> EmbeddingChoice:
    """Try every embedding at every layer and pooling; of equal scores the first one is chosen.

    Args:
        embeddings: The embeddings to try, in this order.
        grid_shape: The numbers of layers and poolings.
        dev_score: The score of an embedding at a layer and pooling, on examples that are not
            reported.
    """
    grids = np.empty((len(embeddings), *grid_shape))
    for place, layer, pooling in np.ndindex(grids.shape):
        grids[place, layer, pooling] = dev_score(embeddings[place], layer, pooling)
    place, layer, pooling = (int(i) for i in np.unravel_index(grids.argmax(), grids.shape))
    by_name = {str(name): grid.tolist() for name, grid in zip(embeddings, grids, strict=True)}
    return EmbeddingChoice(embeddings[place], layer, pooling, by_name)
