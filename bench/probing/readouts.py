"""Readouts: which of an encoder's features a probe is fitted on.

All layers and poolings are screened by least squares on the labels, which has a closed form: the
screening ranks them and does not have to fit them well. With logistic regressions instead, the
screening was most of the cost. Rare labels count as much as frequent ones where the criterion
discounts frequency: an unweighted fit predicts the most frequent label everywhere, and every layer
scores 0. Features are standardised with the statistics of the training part.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.probing.methods import layer_weights, ridge
from bench.probing.protocol import Criterion, ProbeSettings, Readout, criterion_score
from bench.probing.sampling import chosen_units
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Bool, Float

    from bench.pretraining.noise import Noise
    from bench.probing.examples import LabelledFeatures


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureReadout:
    """The features that one probe sees."""

    name: Readout
    parts: tuple[tuple[int, int], ...]
    """(layer, pooling) of each part."""
    weights: tuple[float, ...] | None = None
    """The weights of the parts in a mean; None: side by side."""

    def both(
        self, train: LabelledFeatures, test: LabelledFeatures
    ) -> tuple[Float[np.ndarray, "T W"], Float[np.ndarray, "R W"]]:
        """The standardised features of both splits."""
        parts = [standardise(train.at(*part), test.at(*part)) for part in self.parts]
        x, x_test = (self._join([pair[side] for pair in parts]) for side in (0, 1))
        return x, x_test

    def train(self, train: LabelledFeatures) -> Float[np.ndarray, "T W"]:
        """The standardised features of the training split."""
        empty = np.empty(0, dtype=np.int64)
        return self._join(
            [standardise(train.at(*part), train.at(*part, empty))[0] for part in self.parts]
        )

    def describe(self) -> dict[str, Any]:
        """The readout as JSON values."""
        layers = sorted({layer for layer, _ in self.parts})
        poolings = sorted({pooling for _, pooling in self.parts})
        weights = {} if self.weights is None else {"layer_weights": list(self.weights)}
        return {
            "readout": self.name,
            "layer": layers[0] if len(layers) == 1 else layers,
            "pooling": "+".join(POOLINGS[pooling] for pooling in poolings),
            **weights,
        }

    def _join(self, parts: list[np.ndarray]) -> np.ndarray:
        if self.weights is None:
            return np.concatenate(parts, axis=1)
        weighted = zip(self.weights, parts, strict=True)
        return np.asarray(sum(weight * part for weight, part in weighted), dtype=np.float32)


def readouts(
    train: LabelledFeatures,
    grid: Float[np.ndarray, "S P"],
    y: np.ndarray,
    is_dev: Bool[np.ndarray, " T"],
    settings: ProbeSettings,
) -> Iterator[FeatureReadout]:
    """The readouts of the settings.

    Args:
        train: The training split.
        grid: The dev score of each layer and pooling, from `screen`.
        y: The labels.
        is_dev: The dev part, on which no weight is fitted.
        settings: Names the readouts.
    """
    layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
    num_layers, num_poolings = grid.shape
    at_one = [(each, pooling) for each in _spaced(num_layers, train.width, settings)]
    columns = train.width * num_poolings
    everything = [
        (each, every)
        for each in _spaced(num_layers, columns, settings)
        for every in range(num_poolings)
    ]
    for name in settings.readouts:
        if name == "layer":
            yield FeatureReadout(name, ((layer, pooling),))
        elif name == "mix":
            parts = tuple((each, pooling) for each in range(num_layers))
            stacked = [FeatureReadout("layer", (part,)).train(train)[~is_dev] for part in parts]
            yield FeatureReadout(name, parts, layer_weights(stacked, y[~is_dev]))
        else:
            yield FeatureReadout(name, tuple(at_one if name == "layers" else everything))


def _spaced(num_layers: int, columns: int, settings: ProbeSettings) -> list[int]:
    """The layers that fit side by side: all of them, or evenly spaced ones with the last."""
    count = min(num_layers, max(1, settings.max_columns // columns))
    spaced = np.linspace(num_layers - 1, 0, count).round().astype(int)
    return [int(layer) for layer in np.unique(spaced)]


def screen(
    train: LabelledFeatures,
    y: np.ndarray,
    is_dev: Bool[np.ndarray, " T"],
    noise: Noise,
    settings: ProbeSettings,
    criterion: Criterion,
) -> Float[np.ndarray, "S P"]:
    """The dev score of each layer and pooling, by ridge regression on a few examples."""
    counts = np.bincount(train.units)
    few = chosen_units(counts, noise, "probe.screen", settings.screen_examples)
    rows = np.flatnonzero(np.isin(train.units, few))
    y, is_dev = y[rows], is_dev[rows]
    is_class = y.dtype.kind != "f"
    targets = np.eye(y.max() + 1)[y] if is_class else y.reshape(len(y), -1)
    if criterion == "matthews" and is_class:
        targets = targets / np.sqrt(np.maximum(targets[~is_dev].sum(0), 1.0))
    grid = np.empty(train.grid_shape)
    for layer, pooling in np.ndindex(grid.shape):
        everything = train.at(layer, pooling, rows)
        x, x_dev = standardise(everything[~is_dev], everything[is_dev])
        outputs = ridge(x, targets[~is_dev], settings.screen_penalty)(x_dev)
        predicted = outputs.argmax(1) if is_class else outputs[:, 0]
        if y.ndim == 2:  # each label as often as in train: least squares seldom reaches 0.5
            predicted = _most_likely(outputs, targets[~is_dev].mean(0))
        grid[layer, pooling] = criterion_score(predicted, y[is_dev], criterion)
    return grid


def _most_likely(
    outputs: Float[np.ndarray, "R K"], shares: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "R K"]:
    """1 for the share of rows of each column that has the highest outputs, else 0."""
    ranks = (-outputs).argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    chosen: Float[np.ndarray, "R K"] = (ranks < np.round(shares * len(outputs))).astype(float)
    return chosen


def standardise(
    x: Float[np.ndarray, "T W"], further: Float[np.ndarray, "R W"]
) -> tuple[Float[np.ndarray, "T W"], Float[np.ndarray, "R W"]]:
    """Both by the mean and deviation of the first; a feature that never varies becomes 0.

    In float32, with which logistic regression takes half the time.
    """
    mean, scale = x.mean(0), x.std(0)
    is_constant = scale < 1e-12
    scale[is_constant] = 1.0
    z, z_further = (((rows - mean) / scale).astype(np.float32) for rows in (x, further))
    z_further[:, is_constant] = 0.0
    return z, z_further
