from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.pretraining.loop import Pretraining
from bench.records.unigram import unigram_loss

MakeSpec = Callable[..., Any]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("token", "span")]


@pytest.mark.parametrize("name", ["causal", "prefix_lm", "masked_diffusion", *SLOW])
def test_the_unigram_loss_is_that_of_token_frequencies_on_the_same_labels(
    make_spec: MakeSpec, corpus: PreparedCorpus, name: str
) -> None:
    run = Pretraining(*make_spec(name), corpus, "cpu")
    before = {key: value.clone() for key, value in run.head.state_dict().items()}
    floor = unigram_loss(run)
    assert floor is not None
    counts = corpus.train.counts + 1.0
    nats = -np.log(counts / counts.sum())
    heldout = corpus.heldout
    assert heldout is not None
    expected = (heldout.counts * nats).sum() / heldout.counts.sum()
    assert floor == pytest.approx(expected, rel=0.1)  # a sample of the held-out tokens
    assert floor == unigram_loss(run)  # whatever the weights are, and again
    assert all(torch.equal(value, run.head.state_dict()[key]) for key, value in before.items())
    run.step()  # the head predicts by itself again


@pytest.mark.parametrize(
    "name",
    [
        "replaced_token",
        "t5_infilling",
        "mixture",
        "all_tokens_mlm",
        "tsdae",
        "simcse",
        "retromae",
    ],
)
def test_a_loss_of_more_than_hidden_tokens_has_no_floor(
    make_spec: MakeSpec, corpus: PreparedCorpus, name: str
) -> None:
    assert unigram_loss(Pretraining(*make_spec(name), corpus, "cpu")) is None
