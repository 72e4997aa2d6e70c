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
    c_grid: tuple[PositiveFloat, ...] = (0.001, 0.01, 0.1, 1.0)
    """Inverse regularisations tried at the chosen layer and pooling."""
    max_iterations: PositiveInt = 500
    """Maximum number of lbfgs iterations; a probe that stops there reports it."""
    max_work: PositiveFloat = 1e10
    """Maximum of examples x features x classes x iterations of a fit: with a thousand classes the
    fit stops early and reports it."""


def criterion_score(predicted: np.ndarray, targets: np.ndarray, criterion: Criterion) -> float:
    """The criterion's value; 0 without targets (a dev part too small to exist)."""
    from bench.probing.metrics import matthews, rank_correlation

    if not len(targets):
        return 0.0
    if criterion == "accuracy":
        return float((predicted == targets).mean())
    outcomes = matthews if criterion == "matthews" else rank_correlation
    return float(outcomes(targets, predicted).mean())
