"""Seeded choices of texts and labels: subsets, the dev part, random labels.

Each choice is a pure function of `Noise` and a stream name, so every run and every baseline of a
task works on the same examples.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Bool, Float, Int

    from bench.pretraining.noise import Noise


def uniform(noise: Noise, stream: str, count: int) -> Float[np.ndarray, " N"]:
    """One draw from [0, 1) for each of `count` examples of a split, by their place in it."""
    import torch

    rows = dataclasses.replace(noise, epoch=0, example_ids=torch.arange(count))
    draws: Float[np.ndarray, " N"] = rows.uniform(stream, (count,)).numpy().astype(np.float64)
    return draws


def chosen_units(
    counts: Int[np.ndarray, " U"], noise: Noise, stream: str, limit: int
) -> Int[np.ndarray, " K"]:
    """A random choice of units (texts), in order, that together have at most `limit` labels."""
    order = np.argsort(uniform(noise, stream, len(counts)), kind="stable")
    fits = counts[order].cumsum() <= max(limit, counts[order[0]])
    return np.sort(order[fits])


def dev_part(
    units: Int[np.ndarray, " T"], y: np.ndarray, noise: Noise, fraction: float
) -> Bool[np.ndarray, " T"]:
    """The labels of the dev part: whole texts, stratified where each text has one label."""
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
    """One random label per type, wherever the type occurs, as frequent as the real labels are."""
    everything = [*train_types, *test_types]
    place = {each: i for i, each in enumerate(sorted(set(everything)))}
    draws = uniform(noise, "probe.random_labels", len(place))
    ordered = y[np.lexsort(y.T)] if y.ndim == 2 else np.sort(y)
    labels = ordered[(draws * len(y)).astype(np.int64)][[place[each] for each in everything]]
    return labels[: len(train_types)], labels[len(train_types) :]
