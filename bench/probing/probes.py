"""The probe protocol: fit on train with choices made on its dev part, predict the test split once.

Features are read out in several ways (`bench.probing.readouts`): one layer and pooling, all layers
side by side, all layers and poolings side by side. The readout and the method's one parameter are
chosen on a dev part of the training split; the probe is then refitted on the whole training split.
One layer alone costs accuracy (measured on question classification: 59 against 70 % with all), and
a wide probe learns more by itself, so the details report the best single layer beside the chosen
readout, each with its selectivity.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.machine import beat
from bench.probing.methods import ProbeData
from bench.probing.protocol import Criterion, ProbeSettings, criterion_score
from bench.probing.readouts import FeatureReadout, readouts, screen
from bench.probing.sampling import dev_part, random_labels
from bench.probing.targets import decode, encode_labels
from bench.probing.task import POOLINGS

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise
    from bench.probing.examples import LabelledFeatures
    from bench.probing.methods import Method


def probe(
    train: LabelledFeatures,
    test: LabelledFeatures,
    noise: Noise,
    settings: ProbeSettings,
    method: Method,
    criterion: Criterion = "accuracy",
) -> tuple[Any, dict[str, Any]]:
    """Fit on `train`, predict `test` once.

    Returns:
        The predicted labels, numbers or probabilities of labels, and how they came about: the
        chosen readout, layer (0: embeddings), pooling and parameter with all that were tried;
        selectivity, the probe's score by the criterion minus its score on random labels, one per
        type (Hewitt & Liang 2019); and `single`, the same for the best single layer.
    """
    classes, y, targets = encode_labels(train.labels, test.labels)
    is_dev = dev_part(train.units, y, noise, settings.dev_fraction)
    grid = screen(train, y, is_dev, noise, settings, criterion)
    z, z_test = random_labels(train.types, test.types, y, noise)
    candidates = []
    for readout in readouts(train, grid, y, is_dev, settings):
        beat()
        data = ProbeData(readout.train(train), y, is_dev, noise, settings, criterion)
        parameter, tried = method.choose(data)
        candidates.append(Candidate(readout, parameter, tried))
    chosen = max(candidates, key=lambda one: one.dev)

    def finish(candidate: Candidate) -> tuple[np.ndarray, dict[str, Any]]:
        x, x_test = candidate.readout.both(train, test)
        data = ProbeData(x, y, is_dev, noise, settings, criterion)
        fitted = method.fit(data, candidate.parameter)
        predicted = fitted.predict(x_test)
        fitted_on_random = method.fit(dataclasses.replace(data, y=z), candidate.parameter)
        score = criterion_score(predicted, targets, criterion)
        random_score = criterion_score(fitted_on_random.predict(x_test), z_test, criterion)
        return predicted, {
            **candidate.readout.describe(),
            method.parameter: candidate.parameter,
            f"{method.parameter}_grid": candidate.tried,
            "dev": candidate.dev,
            criterion: score,
            f"random_label_{criterion}": random_score,
            "selectivity": score - random_score,
            **fitted.report,
        }

    predicted, report = finish(chosen)
    single = next((one for one in candidates if one.readout.name == "layer"), chosen)
    details = report | {
        "poolings": list(POOLINGS),
        "grid": grid.tolist(),
        "criterion": criterion,
        "method": method.name,
        "readouts": {one.readout.name: one.dev for one in candidates},
        "train_labels": len(y),
        "dev_labels": int(is_dev.sum()),
    }
    if single is not chosen:
        details["single"] = finish(single)[1]
    if classes is not None and targets.ndim == 1:
        details["unseen_test_labels"] = int((targets < 0).sum())
    return decode(classes, predicted), details


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A readout with the parameter that is best for it."""

    readout: FeatureReadout
    parameter: float
    tried: list[list[float]]

    @property
    def dev(self) -> float:
        """The best dev score."""
        return max(score for _, score in self.tried)
