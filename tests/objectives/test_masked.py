"""all_tokens_mlm, masked_diffusion, pmi, and the boundary objective of span."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy import stats
from torch import Tensor

from bench.pretraining.batch import IGNORED, Batch
from bench.pretraining.corruption.collocations import Words
from bench.pretraining.corruption.spans import exceeding, run_edges
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import BoundaryHead, token_loss
from bench.pretraining.heads.boundary import boundaries
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import SHAPE, batch_of, build, fixed_noise, noise_for

MASK, NO = VOCABULARY.mask_id, IGNORED


def test_all_tokens_mlm_corrupts_as_token_does_and_predicts_all() -> None:
    batch = sample_batch(8, 40, seed=1)
    token = build("token").corrupt(batch, VOCABULARY, noise_for(batch))
    example = build("all_tokens_mlm").corrupt(batch, VOCABULARY, noise_for(batch))
    assert torch.equal(example.inputs, token.inputs)
    assert not torch.equal(example.inputs, batch.tokens)
    assert torch.equal(example.labels, torch.where(batch.real, batch.tokens, NO))
    assert example.positions is None


def test_masked_diffusion_by_hand() -> None:
    batch = batch_of([2, 10, 11, 12, 13, 3], [2, 20, 3, 21, 22, 0])
    noise = fixed_noise(
        batch,
        rate=[[0.25], [0.75]],
        units=[[0.0, 0.3, 0.2, 0.1, 0.3, 0.0], [0.0, 0.7, 0.0, 0.8, 0.7, 0.0]],
    )
    example = build("masked_diffusion", lowest_rate=0.2).corrupt(batch, VOCABULARY, noise)
    # rates 0.2 + 0.8 x draw = 0.4 and 0.8
    assert example.inputs.tolist() == [[2, MASK, MASK, MASK, MASK, 3], [2, MASK, 3, 21, MASK, 0]]
    assert example.labels.tolist() == [[NO, 10, 11, 12, 13, NO], [NO, 20, NO, NO, 22, NO]]
    assert example.extras["weights"].tolist() == pytest.approx([2.5, 1.25])
    assert example.extras["tokens"].tolist() == [4, 3]


def test_masked_diffusion_hides_any_number_of_tokens_equally_often() -> None:
    """With a uniform rate the number hidden is uniform over 0 .. n."""
    batch = batch_of(*([[2] + [10] * 9] * 5000))
    objective = build("masked_diffusion", lowest_rate=1e-6)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    counts = torch.bincount((example.labels != NO).sum(1), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4
    rates = 1 / example.extras["weights"]
    assert stats.kstest(rates.numpy(), "uniform").pvalue > 1e-4


@torch.no_grad()
def test_masked_diffusion_weights_rows_by_their_rate() -> None:
    batch = sample_batch(6, 20, seed=3)
    objective = build("masked_diffusion")
    encoder, head = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    loss = objective.loss(encoder, head, example, noise_for(batch))
    hidden = encoder(example.inputs, example.attention)
    nats = head(hidden, encoder.embeddings.tok_embeddings.weight).log_softmax(-1)
    total = sum(
        -float(nats[row, at, label]) * float(example.extras["weights"][row])
        for row in range(6)
        for at, label in enumerate(example.labels[row].tolist())
        if label != NO
    )
    assert float(loss.sum) == pytest.approx(total, rel=1e-4)
    assert loss.divisor is not None
    assert int(loss.divisor) == int(batch.real.sum())
    assert int(loss.predictions) == int((example.labels != NO).sum())


def collocation(batch: Batch, row: int, first_word: int, num_words: int) -> Tensor:
    return Words.of(batch).runs[num_words - 1][0][row, first_word]


def test_pmi_by_hand() -> None:
    """`she lives in new york city now`, a collocation, `new york city`, is hidden whole or not."""
    batch = batch_of([2, 10, 11, 12, 13, 14, 15, 16])
    city = collocation(batch, 0, 3, 3)
    statistics = dataclasses.replace(batch, statistics={"collocations": city[None]})
    objective = build("pmi", rate=0.43, mask_fraction=1.0, random_fraction=0.0)  # quota 3 of 7
    seen = set()
    for seed in range(40):
        example = objective.corrupt(statistics, VOCABULARY, noise_for(batch, seed))
        hidden = tuple((example.inputs[0] == MASK).nonzero()[:, 0].tolist())
        assert len(hidden) == 3
        assert not {4, 5, 6} & set(hidden) or hidden == (4, 5, 6)
        seen.add(hidden)
    assert (4, 5, 6) in seen
    assert len(seen) > 3


def test_pmi_without_a_table_is_whole_word() -> None:
    batch = sample_batch(6, 40, seed=5)
    expected = build("whole_word").corrupt(batch, VOCABULARY, noise_for(batch))
    for statistics in ({}, {"collocations": torch.empty(0, dtype=torch.long)}):
        own = dataclasses.replace(batch, statistics=statistics)
        example = build("pmi").corrupt(own, VOCABULARY, noise_for(batch))
        assert torch.equal(example.inputs, expected.inputs)


def test_pmi_hides_the_collocations_it_collects() -> None:
    """A triple in every row, between words that change."""
    rows = [[2, 10 + row % 40, 60, 61, 62, 50 + row % 7, 100 + row] for row in range(60)]
    batch = batch_of(*rows)
    objective = build("pmi", size=40)
    table = objective.collect_statistics([batch], VOCABULARY)
    assert collocation(batch, 0, 1, 3) in table["collocations"]
    units = objective.units(dataclasses.replace(batch, statistics=table))
    assert not units[:, 3:5].any()
    assert units[:, [1, 2, 5, 6]].all()


def test_run_edges_and_exceeding() -> None:
    marked = torch.tensor([[1, 1, 0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0, 0]]).bool()
    first, last = run_edges(marked)
    assert first[marked].tolist() == [0, 0, 3, 5, 5, 5, 2, 2, 2]
    assert last[marked].tolist() == [1, 1, 3, 7, 7, 7, 4, 4, 4]
    run = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0]]).bool()
    words = torch.tensor([[1, 0, 1, 1, 0, 1, 0, 1]]).bool()
    room = torch.tensor([[4]])
    assert exceeding(run, words, room).nonzero()[:, 1].tolist() == [5, 6]
    assert exceeding(run, torch.ones_like(run), room).nonzero()[:, 1].tolist() == [6]


def test_boundaries_by_hand() -> None:
    """Runs 0..1 (at the edge), 3, and 6..7 of a row of 8; slots are unordered."""
    positions = torch.tensor([[7, 0, 3, 1, 6, 0]])
    labels = torch.tensor([[10, 11, 12, 13, 14, NO]])
    before, after, place = boundaries(positions, labels, 8)
    assert before[0, :5].tolist() == [5, 0, 2, 0, 5]
    assert after[0, :5].tolist() == [7, 2, 4, 2, 7]
    assert place[0, :5].tolist() == [1, 0, 0, 1, 0]


@torch.no_grad()
def test_boundary_loss_against_a_slow_loop() -> None:
    batch = sample_batch(2, 24, seed=6)
    objective = build("span", boundary=True, rate=0.4)
    encoder, head = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    assert isinstance(head, BoundaryHead)
    head.boundary_bias.copy_(torch.linspace(-1, 1, 500))
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    loss = objective.loss(encoder, head, example, noise_for(batch))
    hidden = encoder(example.inputs, example.attention)
    embedding = encoder.embeddings.tok_embeddings.weight
    total, predictions = 0.0, 0
    assert example.positions is not None
    for row in range(2):
        label_at = {
            at: label
            for at, label in zip(
                example.positions[row].tolist(), example.labels[row].tolist(), strict=True
            )
            if label != NO
        }
        for at, label in label_at.items():
            first, last = at, at
            while first - 1 in label_at:
                first -= 1
            while last + 1 in label_at:
                last += 1
            left, right = hidden[row, max(first - 1, 0)], hidden[row, min(last + 1, 23)]
            joined = torch.cat((left, right, head.place_embeddings.weight[at - first]))
            inner = head.first_norm(torch.nn.functional.gelu(head.first.weight @ joined))
            outer = head.second_norm(torch.nn.functional.gelu(head.second.weight @ inner))
            total -= float((embedding @ outer + head.boundary_bias).log_softmax(0)[label])
            predictions += 1
    alone = token_loss(encoder, head, example)
    assert float(loss.sum - alone.sum) == pytest.approx(total, rel=1e-4)
    assert int(loss.predictions) == predictions == int(alone.predictions)
    assert {name: int(count) for name, (_, count) in loss.parts.items()} == {
        "token": predictions,
        "boundary": predictions,
    }


def test_boundary_is_a_setting_and_changes_nothing_else() -> None:
    batch = sample_batch(4, 24)
    plain, knob = build("span"), build("span", boundary="true")
    first, second = (o.corrupt(batch, VOCABULARY, noise_for(batch)) for o in (plain, knob))
    assert torch.equal(first.inputs, second.inputs)
    assert not isinstance(plain.head(SHAPE, VOCABULARY), BoundaryHead)
    assert knob.display_name == "span[boundary=True]"
    own = sum(p.numel() for p in knob.head(SHAPE, VOCABULARY).parameters())
    assert own == knob.extra_cost(SHAPE).parameters
    assert own > plain.extra_cost(SHAPE).parameters
