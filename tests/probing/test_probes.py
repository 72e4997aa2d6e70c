from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.errors import BenchError
from bench.pretraining.noise import Noise
from bench.probing import methods, probes, readouts
from bench.probing.examples import LabelledFeatures
from bench.probing.methods import Linear, ProbeData, ridge
from bench.probing.protocol import ProbeSettings
from bench.settings import as_mapping, from_mapping

NOISE = Noise(7, 0, torch.arange(1))
SETTINGS = ProbeSettings(readouts=("layer",))
POOLINGS = ("mean", "first", "last")


def labelled(count, seed, strength, classes=2, layer=1, pooling=2):
    """Noise everywhere; the label is planted in one direction of one layer and pooling."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, count)
    features = generator.normal(size=(count, 3, 3, 8)).astype(np.float32)
    features[:, layer, pooling, :classes] += strength * np.eye(classes)[y]
    features *= 10.0 ** np.arange(-4, 4)  # probes must not depend on the scale
    texts = [f"text {seed} {i}" for i in range(count)]
    labels = [f"class {label}" for label in y]
    return LabelledFeatures(features, labels, texts, np.arange(count))


def probe(train, test, settings=SETTINGS, noise=NOISE, method=None):
    method = method or Linear()
    predicted, details = probes.probe(train, test, noise, settings, method)
    return predicted.tolist(), details


def test_the_layer_and_pooling_of_planted_features_are_chosen():
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
    labels = [str(i % 2) for i in range(150)]
    train = LabelledFeatures(features, labels, texts, np.arange(150))
    _, details = probe(train, train)
    assert details["accuracy"] > 0.9
    assert np.mean(details["grid"]) < 0.7
    assert np.mean([accuracy for _, accuracy in details["c_grid"]]) < 0.7


def test_the_screening_uses_few_examples(monkeypatch):
    sizes = []

    def recording_ridge(x, *arguments):
        sizes.append(len(x))
        return ridge(x, *arguments)

    monkeypatch.setattr(readouts, "ridge", recording_ridge)
    settings = ProbeSettings(screen_examples=100)
    probe(labelled(500, 1, 1.0), labelled(50, 2, 1.0), settings)
    assert len(sizes) == 9  # 3 layers x 3 poolings
    assert 60 < min(sizes) <= max(sizes) < 100  # less the dev part


def test_the_same_arguments_give_the_same_answer_and_leave_global_randomness_alone():
    train, test = labelled(300, 11, 0.5), labelled(100, 12, 0.5)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is the point
    assert probe(train, test) == probe(train, test)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    _, other = probe(train, test, noise=dataclasses.replace(NOISE, seed=8))
    assert other["grid"] != probe(train, test)[1]["grid"]


def test_stopping_early_is_reported_without_a_warning():
    settings = ProbeSettings(max_iterations=2)
    _, details = probe(labelled(300, 13, 0.5), labelled(50, 14, 0.5), settings)
    assert (details["converged"], details["iterations"]) == (False, 2)


def test_a_label_of_the_test_split_alone_is_counted_and_wrong():
    train, test = labelled(300, 15, 4.0), labelled(100, 16, 4.0, classes=3)
    predicted, details = probe(train, test)
    unseen = [label == "class 2" for label in test.labels]
    assert details["unseen_test_labels"] == sum(unseen) > 0
    assert "class 2" not in predicted


def test_ten_examples_of_five_classes_are_enough():
    _, details = probe(labelled(10, 17, 4.0, classes=5), labelled(10, 18, 4.0, classes=5))
    assert 0.0 <= details["accuracy"] <= 1.0


def test_features_of_no_variance_and_one_class_are_no_error():
    x, y = np.ones((5, 3)), np.full(5, 2)

    def fit(labels):
        data = ProbeData(x, labels, np.zeros(len(x), dtype=bool), NOISE, SETTINGS)
        return Linear().fit(data, 1.0).predict(x)

    assert fit(y).tolist() == [2] * 5
    assert fit(np.arange(5) % 2).shape == (5,)


def test_settings_are_validated():
    assert as_mapping(SETTINGS)["c_grid"] == [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]
    with pytest.raises(BenchError, match=r"probe\.dev_fraction"):
        from_mapping(ProbeSettings, {"dev_fraction": 0.9}, "probe")


def spread(count, seed):
    """A label that no layer has alone: the parity of one direction's place decides the layer."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, count)
    features = generator.normal(size=(count, 3, 3, 8)).astype(np.float32)
    features[:, :, 0, 0] += (y - 0.5)[:, None]  # each layer's mean pooling has a little of it
    return LabelledFeatures(
        features, y.astype(str).tolist(), [f"{seed} {i}" for i in range(count)], np.arange(count)
    )


def test_layers_side_by_side_are_chosen_where_each_has_a_part():
    train, test = spread(2_000, 1), spread(2_000, 2)
    _, details = probe(train, test, ProbeSettings(readouts=("layer", "layers", "mix", "all")))
    dev = details["readouts"]
    assert min(dev["layers"], dev["mix"], dev["all"]) > dev["layer"] + 0.03
    assert details["readout"] != "layer"
    assert details["accuracy"] > details["single"]["accuracy"] + 0.03
    assert details["single"]["readout"] == "layer"
    assert {"selectivity", "c", "dev"} <= details["single"].keys()


def test_the_layer_mix_weights_the_layers_that_hold_the_label():
    _, details = probe(
        labelled(800, 1, 2.0), labelled(400, 2, 2.0), ProbeSettings(readouts=("mix",))
    )
    weights = details["layer_weights"]
    assert np.argmax(weights) == 1
    assert weights[1] > 0.6
    assert sum(weights) == pytest.approx(1.0)
    assert details["accuracy"] > 0.9


def test_wide_readouts_take_evenly_spaced_layers():
    settings = ProbeSettings(readouts=("all",), max_columns=48)  # two layers of 3 x 8 columns
    _, details = probe(labelled(300, 1, 2.0), labelled(100, 2, 2.0), settings)
    assert details["layer"] == [0, 2]
    assert details["pooling"] == "mean+first+last"


def test_rare_labels_are_screened_with_equal_weight():
    generator = np.random.default_rng(0)
    y = (generator.random(2_000) < 0.04).astype(int)
    features = generator.normal(size=(2_000, 2, 3, 8)).astype(np.float32)
    features[:, 1, :, 0] += 1.5 * y[:, None]
    train = LabelledFeatures(
        features, y.astype(str).tolist(), [str(i) for i in range(2_000)], np.arange(2_000)
    )
    _, details = probes.probe(train, train, NOISE, SETTINGS, Linear(), "matthews")
    assert details["layer"] == 1
    assert np.min(details["grid"][1]) > 0.05


def numbers_with_best_penalty(c):
    """Ridge regression predicts best where 1 / c is the variance of the noise over the weights'."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1_100, 100))
    signal = x @ generator.normal(size=100)
    y = signal + generator.normal(size=1_100) * (1 / c) ** 0.5
    return ProbeData(x, y, np.arange(1_100) >= 100, NOISE, SETTINGS, "spearman")


@pytest.mark.parametrize(("place", "fits"), [(0, 3), (1, 4), (2, 5)])
def test_the_search_of_the_penalty_ends_after_two_worse_values(place, fits):
    best = SETTINGS.c_grid[place]
    chosen, tried = Linear().choose(numbers_with_best_penalty(best))
    assert chosen == best
    assert [c for c, _ in tried] == list(SETTINGS.c_grid[:fits])
    assert fits < len(SETTINGS.c_grid)


def test_the_search_of_the_penalty_reaches_the_end_of_the_grid():
    chosen, tried = Linear().choose(numbers_with_best_penalty(100.0))
    assert chosen == 100.0
    assert [c for c, _ in tried] == list(SETTINGS.c_grid)


def test_one_worse_value_does_not_end_the_search_of_the_penalty(monkeypatch):
    scores = iter([0.5, 0.4, 0.6, 0.5, 0.5, 0.9])
    monkeypatch.setattr(methods, "criterion_score", lambda *arguments: next(scores))
    chosen, tried = Linear().choose(numbers_with_best_penalty(1.0))
    assert chosen == 0.1
    assert [score for _, score in tried] == [0.5, 0.4, 0.6, 0.5, 0.5]
