"""The linear probe: what a logistic regression reads off frozen features.

Layer and pooling are chosen on a dev part of the training split, then the regularisation, then
the probe is refitted on the whole of it and the test split is read once. Features are standardised
with the training part's statistics: lbfgs on 10,000 x 768 takes 1.2 s standardised and 146 s
unscaled. The sweep over layers and poolings sees few examples and one C, because it has to rank
them, not to fit them.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from bench.settings import PositiveFloat, PositiveInt, settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from sklearn.linear_model import LogisticRegression

    from bench.pretraining.noise import Noise


@settings
class ProbeSettings:
    """The numbers of the probe protocol, the same for every objective."""

    max_train_examples: PositiveInt = 5_000
    """Labels (of texts, or of words) the probe is fitted on at most."""
    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of them on which layer, pooling and C are chosen."""
    sweep_examples: PositiveInt = 1_500
    """Labels the sweep over layers and poolings sees at most."""
    sweep_c: PositiveFloat = 0.1
    """The inverse regularisation of that sweep."""
    c_grid: tuple[PositiveFloat, ...] = (0.01, 0.1, 1.0)
    """Inverse regularisations tried at the chosen layer and pooling."""
    max_iterations: PositiveInt = 500
    """Of lbfgs; a probe that stops there says so."""


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Labels with the features they are to be read from. T labels, S layers, P poolings."""

    features: Float[np.ndarray, "T S P D"]
    labels: Sequence[str]
    types: Sequence[str]
    """What a probe could know a label by without any encoder: the word, or the text."""
    units: Int[np.ndarray, " T"]
    """The text of each label; a text is never cut in two."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A logistic regression behind its standardisation."""

    mean: Float[np.ndarray, " D"]
    scale: Float[np.ndarray, " D"]
    model: LogisticRegression | None
    constant: int
    """The answer where the examples have one class only and there is no model."""
    iterations: int

    def predict(self, x: Float[np.ndarray, "T D"]) -> Int[np.ndarray, " T"]:
        """The class of each row."""
        if self.model is None:
            return np.full(len(x), self.constant)
        found: Int[np.ndarray, " T"] = self.model.predict((x - self.mean) / self.scale)
        return found

    def accuracy(self, x: Float[np.ndarray, "T D"], y: Int[np.ndarray, " T"]) -> float:
        """Share of rows whose class is right; 0 of none (a dev part too small to exist)."""
        if not len(x):
            return 0.0
        return float((self.predict(x) == y).mean())


def linear_probe(
    train: Labelled, test: Labelled, poolings: Sequence[str], noise: Noise, protocol: ProbeSettings
) -> tuple[list[str], dict[str, Any]]:
    """Fit on `train`, answer `test` once.

    Returns:
        The predicted labels, and how they came about: the chosen layer (0: embeddings), pooling
        and C with what they were chosen from, convergence, and selectivity: the accuracy minus
        that of the same probe on random labels, one a type (Hewitt & Liang 2019).
    """
    classes, y = np.unique(np.asarray(train.labels), return_inverse=True)
    is_dev = dev_part(train.units, y, noise, protocol.dev_fraction)
    grid = sweep(train, y, is_dev, noise, protocol)
    layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
    x = train.features[:, layer, pooling].astype(np.float64)
    x_test = test.features[:, layer, pooling].astype(np.float64)
    by_c = []
    for c in protocol.c_grid:
        fitted = fit(x[~is_dev], y[~is_dev], c, protocol.max_iterations)
        by_c.append(fitted.accuracy(x[is_dev], y[is_dev]))
    c = protocol.c_grid[int(np.argmax(by_c))]
    fitted = fit(x, y, c, protocol.max_iterations)
    predicted = [str(label) for label in classes[fitted.predict(x_test)]]
    accuracy = float(np.mean([a == b for a, b in zip(predicted, test.labels, strict=True)]))
    z, z_test = random_labels(train.types, test.types, y, noise)
    random_accuracy = fit(x, z, c, protocol.max_iterations).accuracy(x_test, z_test)
    return predicted, {
        "layer": layer,
        "pooling": poolings[pooling],
        "grid": grid.tolist(),
        "c": c,
        "c_grid": [list(pair) for pair in zip(protocol.c_grid, by_c, strict=True)],
        "train_labels": len(y),
        "dev_labels": int(is_dev.sum()),
        "accuracy": accuracy,
        "random_label_accuracy": random_accuracy,
        "selectivity": accuracy - random_accuracy,
        "iterations": fitted.iterations,
        "converged": fitted.iterations < protocol.max_iterations,
        "unseen_test_labels": sum(label not in classes for label in test.labels),
    }


def sweep(
    train: Labelled,
    y: Int[np.ndarray, " T"],
    is_dev: Bool[np.ndarray, " T"],
    noise: Noise,
    protocol: ProbeSettings,
) -> Float[np.ndarray, "S P"]:
    """Dev accuracy of every layer and pooling, each fitted on a few examples with one C."""
    counts = np.bincount(train.units)
    few = chosen_units(counts, noise, "probe.sweep", protocol.sweep_examples)
    is_few = np.isin(train.units, few)
    features = train.features[is_few].astype(np.float64)
    y, is_dev = y[is_few], is_dev[is_few]
    grid = np.empty(features.shape[1:3])
    for layer, pooling in np.ndindex(grid.shape):
        x = features[:, layer, pooling]
        fitted = fit(x[~is_dev], y[~is_dev], protocol.sweep_c, protocol.max_iterations)
        grid[layer, pooling] = fitted.accuracy(x[is_dev], y[is_dev])
    return grid


def fit(
    x: Float[np.ndarray, "T D"], y: Int[np.ndarray, " T"], c: float, max_iterations: int
) -> Fitted:
    """Standardise, then logistic regression (multinomial beyond two classes)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(0), x.std(0)
    scale[scale < 1e-12] = 1.0  # a feature that never varies carries nothing
    if (y == y[0]).all():
        return Fitted(mean, scale, None, int(y[0]), 0)
    model = LogisticRegression(C=c, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are reported
        model.fit((x - mean) / scale, y)
    return Fitted(mean, scale, model, 0, int(model.n_iter_.max()))


def uniform(noise: Noise, stream: str, count: int) -> Float[np.ndarray, " N"]:
    """One draw for each of `count` examples of a split, by their place in it."""
    import torch

    rows = dataclasses.replace(noise, epoch=0, example_ids=torch.arange(count))
    drawn: Float[np.ndarray, " N"] = rows.uniform(stream, (count,)).numpy().astype(np.float64)
    return drawn


def chosen_units(
    counts: Int[np.ndarray, " U"], noise: Noise, stream: str, limit: int
) -> Int[np.ndarray, " K"]:
    """A random choice of units (texts), in order, that together hold at most `limit` labels."""
    order = np.argsort(uniform(noise, stream, len(counts)), kind="stable")
    fits = counts[order].cumsum() <= max(limit, counts[order[0]])
    return np.sort(order[fits])


def dev_part(
    units: Int[np.ndarray, " T"], y: Int[np.ndarray, " T"], noise: Noise, fraction: float
) -> Bool[np.ndarray, " T"]:
    """Which labels are kept for choices: whole texts, stratified where a text has one label."""
    counts = np.bincount(units)
    stratum = np.zeros(len(counts), dtype=np.int64)
    if counts.max() == 1:
        stratum[units] = y
    order = np.lexsort((uniform(noise, "probe.dev", len(counts)), stratum))
    sizes = np.bincount(stratum)
    rank = np.arange(len(order)) - (sizes.cumsum() - sizes)[stratum[order]]
    is_dev = np.empty(len(order), dtype=bool)
    is_dev[order] = rank < np.floor(sizes * fraction + 0.5)[stratum[order]]
    of_labels: Bool[np.ndarray, " T"] = is_dev[units]
    return of_labels


def random_labels(
    train_types: Sequence[str], test_types: Sequence[str], y: Int[np.ndarray, " T"], noise: Noise
) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " R"]]:
    """One random label for each type, wherever it occurs, as frequent as the real labels are."""
    everything = [*train_types, *test_types]
    place = {of: i for i, of in enumerate(sorted(set(everything)))}
    draws = uniform(noise, "probe.random_labels", len(place))
    labels = np.sort(y)[(draws * len(y)).astype(np.int64)][[place[of] for of in everything]]
    return labels[: len(train_types)], labels[len(train_types) :]
