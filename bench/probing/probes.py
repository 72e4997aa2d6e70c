"""The probe: what can be read off frozen features, by a fixed protocol.

Layer and pooling are chosen on a dev part of the training split, then the method's one parameter,
then the probe is refitted on the whole of it and the test split is read once. All layers and
poolings are screened by least squares on the labels, which has a closed form: it ranks them, and
need not fit them well. With logistic regressions instead, the screening was most of the cost.
Features are standardised with the training part's statistics.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from bench.probing.examples import Labelled
from bench.settings import PositiveFloat, PositiveInt, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int

    from bench.pretraining.noise import Noise
    from bench.probing.methods import Method

Criterion = Literal["accuracy", "matthews", "spearman"]
"""What choices are made by: `matthews` where one label is so frequent that accuracy says little,
`spearman` where a number is asked."""


@settings
class ProbeSettings:
    """The numbers of the probe protocol, the same for every objective."""

    max_train_examples: PositiveInt = 5_000
    """Labels (of texts, or of words) the probe is fitted on at most."""
    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of them on which layer, pooling and the method's parameter are chosen."""
    screen_examples: PositiveInt = 2_000
    """Labels that the screening of layers and poolings sees at most."""
    screen_penalty: PositiveFloat = 100.0
    """The ridge penalty of that screening."""
    c_grid: tuple[PositiveFloat, ...] = (0.001, 0.01, 0.1, 1.0)
    """Inverse regularisations tried at the chosen layer and pooling."""
    max_iterations: PositiveInt = 500
    """Of lbfgs; a probe that stops there says so."""
    max_work: PositiveFloat = 1e10
    """Examples x features x classes x iterations of a fit at most: a thousand classes stop early,
    and say so too."""


def probe(
    train: Labelled,
    test: Labelled,
    poolings: Sequence[str],
    noise: Noise,
    protocol: ProbeSettings,
    method: Method,
    criterion: Criterion = "accuracy",
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit on `train`, answer `test` once.

    Returns:
        The predicted labels (or numbers), and how they came about: the chosen layer (0:
        embeddings), pooling and parameter with what they were chosen from, and selectivity: the
        probe's own score minus that on random labels, one a type (Hewitt & Liang 2019).
    """
    classes, y, wanted = encoded(train.labels, test.labels)
    is_dev = dev_part(train.units, y, noise, protocol.dev_fraction)
    grid = screen(train, y, is_dev, noise, protocol, criterion)
    layer, pooling = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
    x, x_test = standardised(train.at(layer, pooling), test.at(layer, pooling))
    parameter, tried = method.choose(x, y, is_dev, noise, protocol, criterion)
    fitted = method.fit(x, y, parameter, noise, protocol)
    found = fitted.predict(x_test)
    z, z_test = random_labels(train.types, test.types, y, noise)
    random_found = method.fit(x, z, parameter, noise, protocol).predict(x_test)
    own: Criterion = "spearman" if classes is None else "accuracy"
    score, random_score = goodness(found, wanted, own), goodness(random_found, z_test, own)
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
        return found, details
    details["unseen_test_labels"] = int((wanted < 0).sum())
    return classes[found], details


def encoded(labels: Any, test_labels: Any) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Classes and their numbers (-1 for one that only `test` has); None where numbers are asked."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        return None, labels, np.asarray(test_labels, dtype=np.float64)
    classes, y = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    wanted = np.asarray(test_labels, dtype=str)
    place = np.searchsorted(classes, wanted).clip(max=len(classes) - 1)
    return classes, y, np.where(classes[place] == wanted, place, -1)


def screen(
    train: Labelled,
    y: np.ndarray,
    is_dev: Bool[np.ndarray, " T"],
    noise: Noise,
    protocol: ProbeSettings,
    criterion: Criterion,
) -> Float[np.ndarray, "S P"]:
    """What each layer and pooling scores on dev, by ridge regression on a few examples."""
    counts = np.bincount(train.units)
    few = chosen_units(counts, noise, "probe.screen", protocol.screen_examples)
    rows = np.flatnonzero(np.isin(train.units, few))
    y, is_dev = y[rows], is_dev[rows]
    targets = y[:, None] if y.dtype.kind == "f" else np.eye(y.max() + 1)[y]
    grid = np.empty(train.grid_shape)
    for layer, pooling in np.ndindex(grid.shape):
        everything = train.at(layer, pooling, rows)
        x, x_dev = standardised(everything[~is_dev], everything[is_dev])
        found = ridge(x, targets[~is_dev], protocol.screen_penalty)(x_dev)
        answers = found[:, 0] if y.dtype.kind == "f" else found.argmax(1)
        grid[layer, pooling] = goodness(answers, y[is_dev], criterion)
    return grid


def ridge(x: Float[np.ndarray, "T W"], targets: Float[np.ndarray, "T K"], penalty: float) -> Any:
    """Least squares with an intercept, as a function of further rows; the smaller system of two."""
    mean_x, mean = x.mean(0), targets.mean(0)
    x, targets = x - mean_x, targets - mean
    rows, width = x.shape
    if rows >= width:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(width), x.T @ targets)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(rows), targets)
    return lambda further: (further - mean_x) @ weights + mean


def standardised(
    x: Float[np.ndarray, "T W"], further: Float[np.ndarray, "R W"]
) -> tuple[Float[np.ndarray, "T W"], Float[np.ndarray, "R W"]]:
    """Both by the mean and deviation of the first; a feature that never varies becomes 0.

    In float32, with which logistic regression takes half the time.
    """
    mean, scale = x.mean(0), x.std(0)
    still = scale < 1e-12
    scale[still] = 1.0
    z, z_further = (((rows - mean) / scale).astype(np.float32) for rows in (x, further))
    z_further[:, still] = 0.0
    return z, z_further


def goodness(found: np.ndarray, wanted: np.ndarray, criterion: Criterion) -> float:
    """How good answers are; 0 of none (a dev part too small to exist)."""
    from bench.probing.metrics import matthews, ranks_correlated

    if not len(wanted):
        return 0.0
    if criterion == "accuracy":
        return float((found == wanted).mean())
    outcomes = matthews if criterion == "matthews" else ranks_correlated
    return float(outcomes(wanted, found).mean())


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
    units: Int[np.ndarray, " T"], y: np.ndarray, noise: Noise, fraction: float
) -> Bool[np.ndarray, " T"]:
    """Which labels are kept for choices: whole texts, stratified where a text has one label."""
    counts = np.bincount(units)
    stratum = np.zeros(len(counts), dtype=np.int64)
    if counts.max() == 1 and y.dtype.kind != "f":
        stratum[units] = y
    order = np.lexsort((uniform(noise, "probe.dev", len(counts)), stratum))
    sizes = np.bincount(stratum)
    rank = np.arange(len(order)) - (sizes.cumsum() - sizes)[stratum[order]]
    is_dev = np.empty(len(order), dtype=bool)
    is_dev[order] = rank < np.floor(sizes * fraction + 0.5)[stratum[order]]
    of_labels: Bool[np.ndarray, " T"] = is_dev[units]
    return of_labels


def random_labels(
    train_types: Sequence[str], test_types: Sequence[str], y: np.ndarray, noise: Noise
) -> tuple[np.ndarray, np.ndarray]:
    """One random label for each type, wherever it occurs, as frequent as the real labels are."""
    everything = [*train_types, *test_types]
    place = {of: i for i, of in enumerate(sorted(set(everything)))}
    draws = uniform(noise, "probe.random_labels", len(place))
    labels = np.sort(y)[(draws * len(y)).astype(np.int64)][[place[of] for of in everything]]
    return labels[: len(train_types)], labels[len(train_types) :]
