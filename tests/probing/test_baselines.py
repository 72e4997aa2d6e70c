"""The baselines of words at the size of a large data set."""

from __future__ import annotations

import tracemalloc

import numpy as np

from bench.probing.baselines import bag_of_words


def test_memory_does_not_grow_with_labels_times_words() -> None:
    draw = np.random.default_rng(0)
    labels = [f"label{i % 60}" for i in range(600)]
    texts = [
        " ".join([label, *(f"w{i}" for i in draw.integers(0, 30_000, 40))]) for label in labels
    ]
    bag_of_words(texts[:9], labels[:9], texts[:3])  # imports
    tracemalloc.start()
    try:
        predicted = bag_of_words(texts, labels, [f"{label} w1 w2" for label in labels[:60]])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert predicted == labels[:60]
    num_columns = 38_000  # words and word pairs
    assert peak < 60 * num_columns * 8 * 3  # three times one weight per label and column
