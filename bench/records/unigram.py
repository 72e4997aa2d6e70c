"""The validation loss of a predictor that knows the frequencies of tokens only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.pretraining.batch import IGNORED
from bench.pretraining.checkpoints.adapter import CheckpointHead
from bench.pretraining.heads import TokenHead
from bench.pretraining.noise import Noise

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.loop import Pretraining


@torch.no_grad()
def unigram_loss(run: Pretraining) -> float | None:
    """The validation loss of token frequencies, on the rows, masks and weights of the run's own.

    None for an objective whose head does more than predict tokens, or whose encoder sees most of
    what it predicts, because its loss has no such floor.
    """
    if type(run.head) not in (TokenHead, CheckpointHead) or run.corpus.heldout is None:
        return None
    if _visible_share(run) > 0.5:
        return None
    counts = torch.from_numpy(run.corpus.train.counts.copy()).to(run.device)
    logits, calls = (counts.float() + 1.0).log(), 0

    def forward(hidden: Tensor, embedding: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return logits.expand(*hidden.shape[:-1], -1)

    run.head.forward = forward
    try:
        loss = run.validation_loss(run.objective)
    finally:
        del run.head.forward
    return loss if calls else None


def _visible_share(run: Pretraining) -> float:
    """The share of the predicted tokens that the encoder sees at the place it predicts from."""
    assert run.corpus.heldout is not None  # the caller has checked
    rows = np.arange(min(run.rows_per_step, run.corpus.heldout.num_rows(run.length, True)))
    batch = run.reader.read(run.corpus.heldout, rows, run.progress)
    noise = Noise(run.spec.seed, 0, batch.example_ids)
    example = run.objective.corrupt(batch, run.vocabulary, noise)
    seen = example.inputs
    if example.positions is not None:
        seen = seen.gather(1, example.positions)
    predicted = example.labels != IGNORED
    return float((seen == example.labels)[predicted].float().mean()) if predicted.any() else 0.0
