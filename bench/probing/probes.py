"""The probe protocol: fit on train with choices made on its dev part, predict the test split once.

Layer and pooling are chosen on a dev part of the training split, then the method's one parameter;
the probe is then refitted on the whole training split and predicts the test split once. All layers
and poolings are screened by least squares on the labels, which has a closed form: the screening
ranks them and does not have to fit them well. With logistic regressions instead, the screening was
most of the cost. Features are standardised with the statistics of the training part.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.probing.methods import ProbeData, ridge
from bench.probing.protocol import Criterion, ProbeSettings, criterion_score
from bench.probing.sampling import chosen_units, dev_part, random_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float

    from bench.pretraining.noise import Noise
    from bench.probing.examples import LabelledFeatures
    from bench.probing.methods import Method


def probe(
    train: LabelledFeatures,
    test: LabelledFeatures,
    poolings: Sequence[str],
    noise: Noise,
    settings: ProbeSettings,
    method: Method,
    criterion: Criterion = "accuracy",
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit on `train`, predict `test` once.

    Returns:
        The predicted labels (or numbers), and how they came about: the chosen layer (0:
        embeddings), pooling and parameter with all that were tried, and selectivity: the probe's
        own score minus its score on random labels, one per type (Hewitt & Liang 2019).
    """
    classes, y, targets = encode_labels(train.labels, test.labels)
    is_dev = dev_part(train.units, y, noise, settings.dev_fraction)
    grid = screen(train, y, is_dev, noise, settings, criterion)
    layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
    x, x_test = standardise(train.at(layer, pooling), test.at(layer, pooling))
    data = ProbeData(x, y, is_dev, noise, settings, criterion)
    parameter, tried = method.choose(data)
    fitted = method.fit(data, parameter)
    predicted = fitted.predict(x_test)
    z, z_test = random_labels(train.types, test.types, y, noise)
    random_predicted = method.fit(dataclasses.replace(data, y=z), parameter).predict(x_test)
    own: Criterion = "spearman" if classes is None else "accuracy"
    score = criterion_score(predicted, targets, own)
    random_score = criterion_score(random_predicted, z_test, own)
    details = {
        "layer": layer,
        "pooling": poolings[pooling],
        "poolings": list(poolings),
        "grid": grid.tolist(),
        "criterion": criterion,
        "method": method.name,
        method.parameter: parameter,
        f"{method.parameter}_grid": tried,
        "train_labels": len(y),
        "dev_labels": int(is_dev.sum()),
        own: score,
        f"random_label_{own}": random_score,
        "selectivity": score - random_score,
        **fitted.report,
    }
    if classes is None:
        return predicted, details
    details["unseen_test_labels"] = int((targets < 0).sum())
    return classes[predicted], details


def encode_labels(
    labels: Any, test_labels: Any
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Classes and the class numbers of both splits (-1 for a class that only `test` has).

    The classes are None where the labels are numbers.
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        return None, labels, np.asarray(test_labels, dtype=np.float64)
    classes, y = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    names = np.asarray(test_labels, dtype=str)
    place = np.searchsorted(classes, names).clip(max=len(classes) - 1)
    return classes, y, np.where(classes[place] == names, place, -1)


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
    targets = y[:, None] if y.dtype.kind == "f" else np.eye(y.max() + 1)[y]
    grid = np.empty(train.grid_shape)
    for layer, pooling in np.ndindex(grid.shape):
        everything = train.at(layer, pooling, rows)
        x, x_dev = standardise(everything[~is_dev], everything[is_dev])
        outputs = ridge(x, targets[~is_dev], settings.screen_penalty)(x_dev)
        predicted = outputs[:, 0] if y.dtype.kind == "f" else outputs.argmax(1)
        grid[layer, pooling] = criterion_score(predicted, y[is_dev], criterion)
    return grid


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
