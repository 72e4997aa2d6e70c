"""Seeded choices of texts and labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.pretraining.noise import Noise
from bench.probing.sampling import chosen_units, dev_part, random_labels

NOISE = Noise(7, 0, torch.arange(1))


def test_the_dev_part_is_stratified_where_a_text_has_one_label():
    y = np.array([0] * 80 + [1] * 20)
    is_dev = dev_part(np.arange(100), y, NOISE, 0.2)
    assert np.bincount(y[is_dev]).tolist() == [16, 4]
    other = dev_part(np.arange(100), y, dataclasses.replace(NOISE, seed=1), 0.2)
    assert (is_dev != other).any()


def test_the_dev_part_never_divides_a_text():
    units = np.repeat(np.arange(50), np.arange(50) % 5 + 1)
    is_dev = dev_part(units, np.arange(len(units)) % 3, NOISE, 0.2)
    assert sum(is_dev[units == unit].all() for unit in range(50)) == 10
    assert sum(is_dev[units == unit].any() for unit in range(50)) == 10


def test_chosen_units_are_nested_in_order_and_within_the_limit():
    counts = np.arange(40) % 7
    few, more = (chosen_units(counts, NOISE, "x", limit) for limit in (20, 60))
    assert set(few) < set(more)
    assert counts[more].sum() <= 60
    assert (np.diff(more) > 0).all()
    assert chosen_units(np.array([9]), NOISE, "x", 5).tolist() == [0]  # one text, however long
    assert chosen_units(counts, NOISE, "x", 10_000).tolist() == list(range(40))


def test_random_labels_belong_to_types_and_are_as_frequent_as_the_real_ones():
    words = [f"w{i % 900}" for i in range(2_000)]
    y = (np.arange(2_000) % 10 == 0).astype(int)
    train, test = random_labels(words, [*words[:500], "new"], y, NOISE)
    by_word = dict(zip(words, train, strict=True))
    assert all(by_word[w] == label for w, label in zip(words, train, strict=True))
    assert (test[:500] == train[:500]).all()
    assert np.mean(list(by_word.values())) == pytest.approx(0.1, abs=0.04)
