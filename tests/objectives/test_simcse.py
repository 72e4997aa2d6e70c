from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.corpus.preparation import PreparedCorpus
from bench.errors import BenchError
from bench.pretraining.batch import Batch, Loss
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.heads import ProjectionHead, contrastive_loss
from bench.pretraining.loop import Pretraining
from bench.pretraining.noise import Noise
from bench.showing.examples import ShowOptions, show
from bench.showing.text import demonstration_lines
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import SHAPE, batch_of, build, noise_for


class Trial:
    """The modules of one objective."""

    def __init__(self, **values: Any) -> None:
        self.objective = build("simcse", **values)
        self.encoder = Encoder(SHAPE, 0)
        self.head = initial_head(lambda: self.objective.head(SHAPE, VOCABULARY), 0)

    def loss(self, batch: Batch, noise: Noise | None = None) -> Loss:
        noise = noise_for(batch) if noise is None else noise
        example = self.objective.corrupt(batch, VOCABULARY, noise)
        result: Loss = self.objective.loss(self.encoder, self.head, example, noise)
        return result


def test_by_hand_two_rows() -> None:
    """Cosines of 1 and 0.6 with their own, 0 and 0.8 with the other, at a temperature of 0.5."""
    first = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[5.0, 0.0], [0.8, 0.6]])
    nats, is_predicted = contrastive_loss(first, second, torch.tensor([True, True]), 0.5, 2)
    expected = [
        -2.0 + math.log(math.exp(2.0) + math.exp(1.6)),
        -1.2 + math.log(math.exp(0.0) + math.exp(1.2)),
    ]
    assert nats.tolist() == pytest.approx(expected)
    assert is_predicted.tolist() == [True, True]


def test_by_hand_a_row_without_text_is_nobody_s_negative() -> None:
    first = torch.tensor([[1.0, 0.0], [9.0, 9.0], [0.0, 1.0], [1.0, 1.0]])
    has_text = torch.tensor([True, False, True, True])
    nats, is_predicted = contrastive_loss(first, first, has_text, 1.0, 3)
    alone = -1.0 + math.log(math.exp(1.0) + math.exp(0.0))
    assert nats.tolist() == pytest.approx([alone, 0.0, alone, 0.0])
    assert is_predicted.tolist() == [True, False, True, False]  # the last is alone in its group


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(2, 9), st.integers(0, 100))
def test_groups_are_those_of_a_slow_loop(rows: int, group_rows: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, rows, 4, generator=generator)
    has_text = torch.rand(rows, generator=generator) < 0.8
    nats, is_predicted = contrastive_loss(first, second, has_text, 0.3, group_rows)
    for row in range(rows):
        low = row // group_rows * group_rows
        group = [i for i in range(low, min(low + group_rows, rows)) if has_text[i]]
        if not has_text[row] or len(group) < 2:
            assert (float(nats[row]), bool(is_predicted[row])) == (0.0, False)
            continue
        cosines = torch.cosine_similarity(first[row][None], second[group]) / 0.3
        expected = cosines.logsumexp(0) - cosines[group.index(row)]
        assert float(nats[row]) == pytest.approx(float(expected), abs=1e-4)
        assert is_predicted[row]


def test_loss_by_a_slow_loop_over_two_passes() -> None:
    trial = Trial(group_rows=3, temperature=0.1, pooling="mean")
    batch = sample_batch(5, 24)
    noise = noise_for(batch)
    loss = trial.loss(batch)
    passes = []
    trial.encoder.set_dropout(0.1, noise)
    for _ in range(2):
        example = trial.objective.corrupt(batch, VOCABULARY, noise)
        hidden = trial.encoder(batch.tokens, example.attention)
        means = [hidden[i][example.attention.attention_mask[i]].mean(0) for i in range(5)]
        passes.append(torch.tanh(trial.head.dense(torch.stack(means))))  # type: ignore[operator,union-attr]
    trial.encoder.set_dropout(0.0, noise)
    total = 0.0
    for group in ([0, 1, 2], [3, 4]):
        for place, row in enumerate(group):
            logits = torch.cosine_similarity(passes[0][row][None], passes[1][group]) / 0.1
            total += (logits.logsumexp(0) - logits[place]).item()
    assert loss.sum.item() == pytest.approx(total, rel=1e-4)
    assert int(loss.predictions) == 5


def test_dropout_is_another_in_each_pass_row_and_epoch_and_the_same_again() -> None:
    trial = Trial(group_rows=2)
    batch = sample_batch(2, 24)
    seen: list[torch.Tensor] = []
    trial.encoder.register_forward_hook(lambda *arguments: seen.append(arguments[2].detach()))
    trial.loss(batch)
    trial.loss(batch)
    trial.loss(batch, noise_for(batch, epoch=1))
    assert len(seen) == 6
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[4])
    twins = batch_of([2, 10, 11, 12], [2, 10, 11, 12])
    trial.loss(twins)
    assert not torch.equal(seen[6][0], seen[6][1])


def test_validation_has_dropout_too_and_training_dropout_has_no_effect() -> None:
    trial, batch = Trial(), sample_batch(4, 24)
    training = trial.loss(batch).sum.item()
    trial.encoder.eval()
    assert trial.loss(batch).sum.item() == training
    trial.encoder.train()
    trial.encoder.set_dropout(0.7, noise_for(batch))
    assert trial.loss(batch).sum.item() == training
    assert Trial(dropout=0.7).loss(batch).sum.item() != training


def test_a_loss_of_whole_groups_does_not_depend_on_the_split() -> None:
    trial, batch = Trial(group_rows=3), sample_batch(9, 24)
    whole = trial.loss(batch)
    parts = [trial.loss(rows_of(batch, torch.arange(low, high))) for low, high in ((0, 3), (3, 9))]
    assert sum(part.sum.item() for part in parts) == pytest.approx(whole.sum.item(), rel=1e-5)
    assert sum(int(part.predictions) for part in parts) == int(whole.predictions) == 9
    cut = [trial.loss(rows_of(batch, torch.arange(low, low + 1))) for low in range(9)]
    assert sum(int(part.predictions) for part in cut) == 0  # no negatives: no prediction


def test_a_step_counts_one_prediction_for_each_row_and_two_passes(
    make_spec: Any, corpus: PreparedCorpus
) -> None:
    run = Pretraining(*make_spec("simcse"), corpus, "cpu")
    run.step()
    assert run.ledger.predictions == run.rows_per_step == 8
    positions = 8 * 32
    assert run.encoder.tokens_read == 2 * positions
    shape = run.spec.encoder
    forward = 2 * run.encoder.forward_flops(8, 32) + 2 * 8 * 2 * 32**2 + 8 * 8 * 2 * 32
    assert run.ledger.flops == pytest.approx(3 * forward)
    assert sum(p.numel() for p in run.head.parameters()) == run.cost.parameters == 32 * 33
    assert shape.hidden_size == 32


def test_the_head_is_no_token_head_and_sentences_are_not_scored() -> None:
    objective = build("simcse")
    assert isinstance(objective.head(SHAPE, VOCABULARY), ProjectionHead)
    assert objective.scoring is None


def test_show_says_that_rows_are_compared(corpus: PreparedCorpus) -> None:
    shape = SHAPE.__class__(**{**vars(SHAPE), "max_length": 32})
    demonstration = show(
        build("simcse"), corpus, shape, ShowOptions(text="the old gate", rows=1, sample_rows=8)
    )
    lines = [line.plain for line in demonstration_lines(demonstration, 80)]
    assert "no token is hidden; predicted: the row itself among the rows of its group" in lines
    assert not any("learns nothing" in line or line.startswith("target") for line in lines)


@pytest.mark.parametrize(
    ("setting", "value"), [("dropout", 0), ("dropout", 1), ("temperature", 0), ("group_rows", 1)]
)
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(BenchError, match=f"simcse.{setting}"):
        build("simcse", **{setting: value})
