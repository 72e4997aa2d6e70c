"""The numbers of the probe protocol, and the criterion by which it makes its choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bench.settings import PositiveFloat, PositiveInt, settings

if TYPE_CHECKING:
    import numpy as np

Criterion = Literal["accuracy", "matthews", "spearman"]
"""The score on dev that choices maximise: `matthews` where one label is so frequent that accuracy
says little, `spearman` where the labels are numbers."""

Readout = Literal["layer", "mix", "layers", "all"]
"""The input of a probe: one layer and pooling; a weighted mean of the layers at one pooling; all
layers at one pooling, side by side; or all layers and poolings, side by side."""


Embedding = Literal["raw", "centred", "whitened"]
"""How embeddings are read before cosines are taken: as they are, without the mean of all texts, or
with equal variance in every direction."""


@settings
class CosineSettings:
    """Where cosines of frozen embeddings are compared (similarity, retrieval, clustering)."""

    embeddings: Annotated[tuple[Embedding, ...], Field(min_length=1)] = (
        "raw",
        "centred",
        "whitened",
    )
    """How embeddings are read, of which the one with the best dev score is chosen; the mean and
    the covariance come from the texts without their labels."""


@settings
class ProbeSettings:
    """The numbers of the probe protocol, the same for every objective."""

    max_train_examples: PositiveInt = 5_000
    """Maximum number of labels (of texts, or of words) that the probe is fitted on."""
    dev_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.2
    """Share of them on which layer, pooling and the method's parameter are chosen."""
    screen_examples: PositiveInt = 2_000
    """Maximum number of labels in the screening of layers and poolings."""
    screen_penalty: PositiveFloat = 100.0
    """The ridge penalty of that screening."""
    readouts: tuple[Readout, ...] = ("layer", "layers", "all")
    """The inputs of which the one with the best dev score is chosen."""
    max_columns: PositiveInt = 8_192
    """Maximum number of columns of `layers` and `all`: of more layers, evenly spaced ones."""
    c_grid: tuple[PositiveFloat, ...] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    """Inverse regularisations tried, the smallest first; two in a row that are worse end the
    search."""
    max_iterations: PositiveInt = 500
    """Maximum number of lbfgs iterations; a probe that stops there reports it."""
    max_work: PositiveFloat = 4e9
    """Maximum of examples x features x classes x iterations of a fit: with a thousand classes the
    fit stops early and reports it."""


@settings
class SimilaritySettings(ProbeSettings, CosineSettings):
    """The probe protocol of similarity, and that of its cosine."""


@settings
class FinetuneSettings:
    """The numbers of fine-tuning, the same for every objective."""

    learning_rates: tuple[PositiveFloat, ...] = ()
    """Peak learning rates tried with the first seed; empty: 0.02, 0.06 and 0.2 divided by the
    encoder's width (BERT's range, 2.6e-5 to 2.6e-4, for 768)."""
    max_epochs: PositiveInt = 20
    """Maximum number of epochs; a seed that is best at the last one is reported."""
    patience: PositiveInt = 3
    """A seed stops after this number of epochs without a better dev score."""
    seeds: PositiveInt = 3
    """Seeds of the head and of the order of the texts, at the chosen learning rate."""
    batch_texts: PositiveInt = 32
    """Texts of a step."""


def criterion_score(predicted: np.ndarray, targets: np.ndarray, criterion: Criterion) -> float:
    """The criterion's value, over all decisions where the targets are sets of labels.

    It is 0 without targets (a dev part too small to exist).
    """
    from bench.probing.metrics import matthews, rank_correlation

    if not len(targets):
        return 0.0
    if targets.ndim == 2:  # the yes and no of every label
        targets, predicted = targets.ravel() > 0, predicted.ravel() >= 0.5
    if criterion == "accuracy":
        return float((predicted == targets).mean())
    outcomes = matthews if criterion == "matthews" else rank_correlation
    return float(outcomes(targets, predicted).mean())
