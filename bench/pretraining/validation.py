"""The validation loss: the loss on held-out documents under masks that are equal for every seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from bench.pretraining.loss_sums import Mean, divisor_of
from bench.pretraining.noise import Noise
from bench.pretraining.objective import MaskedObjective

if TYPE_CHECKING:
    from bench.corpus.store import TokenStore
    from bench.pretraining.batch import Batch, Loss
    from bench.pretraining.batch_reader import BatchReader
    from bench.pretraining.objective import Objective

VALIDATION_TOKENS = 8192
CUSTOMARY_RATE = 0.15
_SEED = 2**62  # larger than the seed of any run, so that no run trains on these masks


def validation_loss(
    store: TokenStore | None,
    reader: BatchReader,
    rows_per_step: int,
    progress: float,
    compute_loss: Callable[[Batch, Noise], Loss],
) -> float:
    """Mean loss of the first held-out rows in nats; NaN if there is no held-out part.

    Args:
        store: The held-out part.
        reader: Reads its rows.
        rows_per_step: Rows of a batch.
        progress: Share of the budget spent, 0 to 1.
        compute_loss: Corrupts a batch and returns its loss.
    """
    if store is None:
        return math.nan
    num_rows = min(
        store.num_rows(reader.length, include_partial=True),
        math.ceil(VALIDATION_TOKENS / reader.length),
    )
    mean = Mean()
    row_ids = torch.arange(num_rows).numpy()
    for low in range(0, num_rows, rows_per_step):
        batch = reader.read(store, row_ids[low : low + rows_per_step], progress)
        loss = compute_loss(batch, Noise(_SEED, 0, batch.example_ids))
        mean.add(float(loss.sum), divisor_of(loss))
    return mean.value


def at_customary_rate(objective: Objective) -> Objective | None:
    """The objective at the customary rate of 15 %, or None if it has this rate or no rate.

    Losses at different rates are not comparable, so the curve of an objective with another rate
    has the loss at 15 % too.
    """
    if not isinstance(objective, MaskedObjective) or objective.rate == CUSTOMARY_RATE:
        return None
    return dataclasses.replace(objective, rate=CUSTOMARY_RATE)
