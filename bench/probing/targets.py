"""The three kinds of targets, and what each means for a predictor: classes, numbers, label sets.

Classes are integers. Numbers are floats. Sets of labels are a matrix of floats with a column for
each label, 1 where a text has it; they are predicted as probabilities, and 0.5 is yes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def encode_labels(
    labels: Any, test_labels: Any
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """The names of the classes, and the targets of both splits.

    The names are None where the labels are numbers. A class that only `test` has is -1; a label of
    a set that only `test` has is left out, as no probe can predict it.
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        return None, labels, np.asarray(test_labels, dtype=np.float64)
    if isinstance(labels[0], tuple):
        names = np.array(sorted({label for row in labels for label in row}))
        return names, label_matrix(labels, names), label_matrix(test_labels, names)
    classes, y = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    test_names = np.asarray(test_labels, dtype=str)
    place = np.searchsorted(classes, test_names).clip(max=len(classes) - 1)
    return classes, y, np.where(classes[place] == test_names, place, -1)


def decode(names: np.ndarray | None, predicted: np.ndarray) -> Any:
    """Predictions by name: classes, numbers, or a table of probabilities of each label."""
    if names is None:
        return predicted
    return pd.DataFrame(predicted, columns=names) if predicted.ndim == 2 else names[predicted]


def label_matrix(
    rows: Sequence[Sequence[str]], names: Sequence[str] | np.ndarray
) -> Float[np.ndarray, "N K"]:
    """1 where a row has a label, else 0."""
    place = {str(name): i for i, name in enumerate(names)}
    matrix = np.zeros((len(rows), len(place)))
    for i, row in enumerate(rows):
        matrix[i, [place[label] for label in row if label in place]] = 1.0
    return matrix


def constant_labels(
    rows: Sequence[tuple[str, ...]], count: int, takes_all: bool = False
) -> pd.DataFrame:
    """The constant prediction that is best on these rows, `count` times.

    Labels are ranked by frequency. The set is that of the most frequent ones with the best micro
    F1; for macro F1 it is all labels.
    """
    frequency = Counter(label for row in rows for label in row)
    names = sorted(frequency, key=lambda name: (-frequency[name], name))
    right = np.cumsum([frequency[name] for name in names])
    f1 = 2 * right / (len(rows) * np.arange(1, len(names) + 1) + right[-1])
    size = len(names) if takes_all else int(f1.argmax()) + 1
    share = np.array([frequency[name] for name in names]) / len(rows)
    probability = share / 2.001 + np.where(np.arange(len(names)) < size, 0.5, 0.0)
    return pd.DataFrame(np.tile(probability, (count, 1)), columns=names)


def num_outputs(y: np.ndarray) -> int:
    """The number of outputs that a network needs."""
    if y.ndim == 2:
        return int(y.shape[1])
    return 1 if y.dtype.kind == "f" else int(y.max()) + 1


def is_number(y: np.ndarray) -> bool:
    """Whether the targets are numbers."""
    return y.dtype.kind == "f" and y.ndim == 1


def predictions(outputs: np.ndarray, y: np.ndarray, center: float, scale: float) -> np.ndarray:
    """A network's outputs as classes, as probabilities, or as numbers on the scale of the data."""
    from scipy.special import expit

    if y.ndim == 2:
        return np.asarray(expit(outputs.astype(np.float64)))
    if is_number(y):
        return np.asarray(outputs[:, 0] * scale + center, dtype=np.float64)
    return np.asarray(outputs.argmax(1))


def loss_of(outputs: Any, targets: Any) -> Any:
    """Cross-entropy for classes and for each label, squared error for numbers; the mean."""
    import torch.nn.functional as F

    if targets.ndim == 2:
        return F.binary_cross_entropy_with_logits(outputs, targets.float())
    if targets.is_floating_point():
        return F.mse_loss(outputs[:, 0], targets.float())
    return F.cross_entropy(outputs, targets)


def constant_loss(targets: Tensor) -> float:
    """The loss of the best constant prediction."""
    if targets.ndim == 2:
        share = targets.mean(0).clamp(1e-12, 1 - 1e-12)
        return float(-(share * share.log() + (1 - share) * (1 - share).log()).mean())
    if targets.is_floating_point():
        return float(targets.var(correction=0))
    shares = targets.bincount() / len(targets)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum())
