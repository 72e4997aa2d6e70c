from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing import probes
from bench.probing.examples import Labelled
from bench.probing.methods import Linear
from bench.probing.probes import (
    ProbeSettings,
    chosen_units,
    dev_part,
    random_labels,
    ridge,
)
from bench.settings import as_mapping, from_mapping

NOISE = Noise(7, 0, torch.arange(1))
PROTOCOL = ProbeSettings()
POOLINGS = ("mean", "first", "last")


def labelled(count, seed, strength, classes=2, layer=1, pooling=2):
    """Noise everywhere; the label planted along one direction of one layer and pooling."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, count)
    features = generator.normal(size=(count, 3, 3, 8)).astype(np.float32)
    features[:, layer, pooling, :classes] += strength * np.eye(classes)[y]
    features *= 10.0 ** np.arange(-4, 4)  # probes must not depend on the scale
    texts = [f"text {seed} {i}" for i in range(count)]
    return Labelled(features, [f"class {label}" for label in y], texts, np.arange(count))


def probe(train, test, protocol=PROTOCOL, noise=NOISE, method=None):
    method = method or Linear()
    predicted, details = probes.probe(train, test, POOLINGS, noise, protocol, method)
    return predicted.tolist(), details


def test_planted_features_are_found_where_they_are():
    predicted, details = probe(labelled(600, 1, 4.0), labelled(300, 2, 4.0))
    assert details["accuracy"] > 0.97
    assert (details["layer"], details["pooling"]) == (1, "last")
    assert np.unravel_index(np.argmax(details["grid"]), (3, 3)) == (1, 2)
    assert np.shape(details["grid"]) == (3, 3)
    assert len(predicted) == 300
    assert details["selectivity"] > 0.3
    assert details["converged"]


def test_random_features_are_at_chance():
    test = labelled(1_000, 4, 0.0)
    _, details = probe(labelled(600, 3, 0.0), test)
    assert abs(details["accuracy"] - 0.5) < 4 * (0.25 / 1_000) ** 0.5
    assert abs(details["random_label_accuracy"] - 0.5) < 4 * (0.25 / 1_000) ** 0.5


def test_the_same_probe_by_hand():
    train, test = labelled(400, 5, 1.0, classes=3), labelled(200, 6, 1.0, classes=3)
    predicted, details = probe(train, test)
    layer, pooling = details["layer"], POOLINGS.index(details["pooling"])
    scaler = StandardScaler()
    x = scaler.fit_transform(train.features[:, layer, pooling].astype(float))
    model = LogisticRegression(C=details["c"], max_iter=500).fit(x, train.labels)
    by_hand = model.predict(scaler.transform(test.features[:, layer, pooling].astype(float)))
    assert predicted == by_hand.tolist()
    assert 0.5 < details["accuracy"] < 0.95
    assert details["accuracy"] == (by_hand == np.array(test.labels)).mean()


def test_choices_never_see_the_test_split():
    train = labelled(300, 8, 1.0)
    _, one = probe(train, labelled(100, 9, 1.0))
    _, other = probe(train, labelled(100, 10, -5.0, layer=0, pooling=0))
    assert [one[key] for key in ("grid", "c_grid", "layer")] == [
        other[key] for key in ("grid", "c_grid", "layer")
    ]


def test_choices_are_made_on_examples_the_fit_has_not_seen():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(150, 2, 3, 100))  # enough to memorise any labels
    texts = [str(i) for i in range(150)]
    train = Labelled(features, [str(i % 2) for i in range(150)], texts, np.arange(150))
    _, details = probe(train, train)
    assert details["accuracy"] > 0.9
    assert np.mean(details["grid"]) < 0.7
    assert np.mean([accuracy for _, accuracy in details["c_grid"]]) < 0.7


def test_the_screening_sees_few_examples(monkeypatch):
    seen = []

    def recorded(x, *arguments):
        seen.append(len(x))
        return ridge(x, *arguments)

    monkeypatch.setattr(probes, "ridge", recorded)
    protocol = ProbeSettings(screen_examples=100)
    probe(labelled(500, 1, 1.0), labelled(50, 2, 1.0), protocol)
    assert len(seen) == 9  # 3 layers x 3 poolings
    assert 60 < min(seen) <= max(seen) < 100  # less the dev part


def test_the_same_arguments_give_the_same_answer_and_leave_global_randomness_alone():
    train, test = labelled(300, 11, 0.5), labelled(100, 12, 0.5)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is the point
    assert probe(train, test) == probe(train, test)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    _, other = probe(train, test, noise=dataclasses.replace(NOISE, seed=8))
    assert other["grid"] != probe(train, test)[1]["grid"]


def test_stopping_early_is_told_and_no_warning():
    protocol = ProbeSettings(max_iterations=2)
    _, details = probe(labelled(300, 13, 0.5), labelled(50, 14, 0.5), protocol)
    assert (details["converged"], details["iterations"]) == (False, 2)


def test_a_label_only_the_test_split_has_is_counted_and_wrong():
    train, test = labelled(300, 15, 4.0), labelled(100, 16, 4.0, classes=3)
    predicted, details = probe(train, test)
    unseen = [label == "class 2" for label in test.labels]
    assert details["unseen_test_labels"] == sum(unseen) > 0
    assert "class 2" not in predicted


def test_ten_examples_of_five_classes_are_enough_to_answer():
    _, details = probe(labelled(10, 17, 4.0, classes=5), labelled(10, 18, 4.0, classes=5))
    assert 0.0 <= details["accuracy"] <= 1.0


def test_features_of_no_variance_and_one_class_are_no_error():
    x, y = np.ones((5, 3)), np.full(5, 2)

    def fit(labels):
        return Linear().fit(x, labels, 1.0, NOISE, PROTOCOL).predict(x)

    assert fit(y).tolist() == [2] * 5
    assert fit(np.arange(5) % 2).shape == (5,)


def test_the_dev_part_is_stratified_where_a_text_has_one_label():
    y = np.array([0] * 80 + [1] * 20)
    is_dev = dev_part(np.arange(100), y, NOISE, 0.2)
    assert np.bincount(y[is_dev]).tolist() == [16, 4]
    other = dev_part(np.arange(100), y, dataclasses.replace(NOISE, seed=1), 0.2)
    assert (is_dev != other).any()


def test_the_dev_part_never_cuts_a_text():
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


def test_settings_are_validated():
    assert as_mapping(PROTOCOL)["c_grid"] == [0.001, 0.01, 0.1, 1.0]
    with pytest.raises(BenchError, match=r"probe\.dev_fraction"):
        from_mapping(ProbeSettings, {"dev_fraction": 0.9}, "probe")
