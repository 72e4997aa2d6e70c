"""Objectives that predict a token one position to its left: prefix_lm, mntp, gpt_bert."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy import stats
from torch import Tensor

from bench.pretraining.batch import IGNORED, Batch, Example
from bench.pretraining.encoder import Encoder
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import SHAPE, batch_of, build, fixed_noise, noise_for

MASK, NO = VOCABULARY.mask_id, IGNORED


def who_sees_whom(example: Example) -> Tensor:
    """[B, query, key]: True if a query's feature depends on a key's input."""
    encoder = Encoder(SHAPE, 0).eval()
    leaf: list[Tensor] = []

    def watch(_module: object, _inputs: object, output: Tensor) -> Tensor:
        leaf.append(output.detach().requires_grad_())
        return leaf[0]

    encoder.embeddings.register_forward_hook(watch)
    features = encoder(example.inputs, example.attention) * torch.linspace(-1, 2, 16)
    rows = [
        torch.autograd.grad(features[:, query].sum(), leaf[0], retain_graph=True)[0]
        for query in range(features.shape[1])
    ]
    return torch.stack([row.abs().sum(-1) > 0 for row in rows], dim=1)


def test_prefix_lm_by_hand() -> None:
    """Splits at 2 of 5 tokens and at 1 of 4, one of them after a separator."""
    batch = batch_of([2, 10, 11, 12, 13, 14, 3], [2, 20, 3, 21, 22, 23, 0])
    noise = fixed_noise(batch, split=[[0.25], [0.3]])  # 1 + floor(.25 x 4), 1 + floor(.3 x 3)
    example = build("prefix_lm").corrupt(batch, VOCABULARY, noise)
    assert torch.equal(example.inputs, batch.tokens)
    assert example.labels.tolist() == [
        [NO, NO, 12, 13, 14, NO, NO],
        [NO, NO, 21, 22, 23, NO, NO],
    ]
    assert example.attention.pattern == "prefix"
    assert example.attention.prefix_lengths is not None
    assert example.attention.prefix_lengths.tolist() == [3, 3]


def test_prefix_lm_split_is_uniform() -> None:
    batch = rows_of(sample_batch(2, 12), torch.zeros(6000, dtype=torch.long))
    batch = Batch(
        batch.tokens, batch.tokens > 4, batch.word_start, batch.sentence_start, torch.arange(6000)
    )
    num_tokens = int(batch.real[0].sum())
    split = build("prefix_lm").split(batch, noise_for(batch))
    counts = torch.bincount(split, minlength=num_tokens)
    assert counts[0] == 0
    assert len(counts) == num_tokens  # 1 .. n - 1
    assert stats.chisquare(counts[1:]).pvalue > 1e-4
    example = build("prefix_lm").corrupt(batch, VOCABULARY, noise_for(batch))
    assert torch.equal((example.labels != NO).sum(1), num_tokens - split)


def test_prefix_lm_sees_the_prefix_and_the_left() -> None:
    batch = sample_batch(4, 12, seed=1)
    example = build("prefix_lm").corrupt(batch, VOCABULARY, noise_for(batch))
    seen, at = who_sees_whom(example), torch.arange(12)
    first = torch.where(example.labels == NO, 12, at).amin(1)  # position of the first label
    assert batch.attention_mask is not None
    for row in range(4):
        is_prefix = at <= first[row] if first[row] < 12 else at < 12
        expected = (is_prefix[None, :] | (at[None, :] <= at[:, None])) & batch.attention_mask[row]
        assert torch.equal(
            seen[row][batch.attention_mask[row]], expected[batch.attention_mask[row]]
        )


def test_mntp_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of([2, 10, 11, 12, 13], [2, 20, 3, 21, 0])
    chosen = torch.tensor([[0, 1, 0, 1, 0], [0, 0, 0, 1, 0]]).bool()
    objective = build("mntp", rate=0.5, mask_fraction=1.0, random_fraction=0.0)
    monkeypatch.setattr(type(objective), "choose", lambda self, batch, noise: chosen)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    assert example.inputs.tolist() == [[2, MASK, 11, MASK, 13], [2, 20, 3, MASK, 0]]
    assert example.labels.tolist() == [[10, 12, NO], [21, NO, NO]]
    assert example.positions.tolist() == [[0, 2, 0], [2, 0, 0]]
    assert example.attention.pattern == "full"


@pytest.mark.parametrize("name", ["mntp", "gpt_bert"])
def test_labels_are_one_position_left_of_hidden_tokens(name: str) -> None:
    batch = sample_batch(32, 48, seed=2)
    values = {"causal_fraction": 0.0} if name == "gpt_bert" else {}
    objective = build(name, rate=0.3, mask_fraction=1.0, random_fraction=0.0, **values)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    rows, slots = (example.labels != NO).nonzero(as_tuple=True)
    at = slots if example.positions is None else example.positions[rows, slots]
    assert (example.inputs[rows, at + 1] == MASK).all()
    assert torch.equal(batch.tokens[rows, at + 1], example.labels[rows, slots])
    assert (example.inputs == MASK).sum() == len(rows)
    quota = objective.quota(batch).sum()
    assert 0.98 * quota <= len(rows) <= quota


def test_pieces_are_of_1_to_3_tokens_each_equally_likely() -> None:
    batch = batch_of(*([[2] + [10] * 255] * 60))
    starts = build("mntp", max_length=3)._piece_starts(batch, noise_for(batch)) & batch.real
    lengths = [starts[row].nonzero()[:, 0].diff()[1:] for row in range(60)]
    counts = torch.bincount(torch.cat(lengths), minlength=4)[1:]
    assert len(counts) == 3
    assert stats.chisquare(counts).pvalue > 1e-4
    assert build("mntp")._piece_starts(batch, noise_for(batch)).all()


def test_gpt_bert_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of([2, 10, 11, 12, 13, 0], [2, 20, 21, 3, 22, 0])
    chosen = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]]).bool()
    objective = build("gpt_bert", rate=0.5, mask_fraction=1.0, random_fraction=0.0)
    monkeypatch.setattr(type(objective), "choose", lambda self, batch, noise: chosen)
    kinds = fixed_noise(batch, kind=[[0.5], [0.01]])
    monkeypatch.setattr(type(objective), "settled", lambda self, noise: kinds)
    monkeypatch.setattr(
        type(kinds), "uniform_at", lambda self, stream, at: torch.zeros(at.shape), raising=False
    )
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    assert example.inputs.tolist() == [[2, 10, MASK, MASK, 13, 0], [2, 20, 21, 3, 22, 0]]
    assert example.labels.tolist() == [[NO, 11, 12, NO, NO, NO], [20, 21, NO, 22, NO, NO]]
    assert example.attention.prefix_lengths is not None
    assert example.attention.prefix_lengths.tolist() == [6, 0]


def test_gpt_bert_rows_are_full_or_causal() -> None:
    batch = sample_batch(8, 10, seed=4)
    example = build("gpt_bert", causal_fraction=0.5).corrupt(batch, VOCABULARY, noise_for(batch))
    is_causal, seen = example.extras["is_causal"], who_sees_whom(example)
    assert 0 < is_causal.sum() < 8
    assert batch.attention_mask is not None
    for row in range(8):
        here = batch.attention_mask[row]
        everything = here.expand(10, -1)
        expected = everything.tril() if is_causal[row] else everything
        assert torch.equal(seen[row][here], expected[here])


def test_gpt_bert_share_of_causal_rows_and_rate_schedule() -> None:
    batch = batch_of(*([[2] + [10] * 39] * 4000))
    objective = build("gpt_bert")
    is_causal = objective.corrupt(batch, VOCABULARY, noise_for(batch)).extras["is_causal"]
    assert abs(is_causal.float().mean() - 1 / 16) < 4 * (1 / 16 * 15 / 16 / 4000) ** 0.5
    assert objective.quota(batch)[0] == 12  # 0.30 x 39
    assert objective.quota(dataclasses.replace(batch, progress=1.0))[0] == 6


@torch.no_grad()
def test_gpt_bert_kinds_have_the_weight_of_their_rows() -> None:
    """Against a slow loop: each row's mean loss, weighted by its tokens."""
    batch = sample_batch(6, 20, seed=7)
    objective = build("gpt_bert", causal_fraction=0.5)
    encoder = Encoder(SHAPE, 0)
    head = objective.head(SHAPE, VOCABULARY)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    loss = objective.loss(encoder, head, example, noise_for(batch))
    hidden = encoder(example.inputs, example.attention)
    nats = head(hidden, encoder.embeddings.tok_embeddings.weight).log_softmax(-1)
    total, weight, predictions = 0.0, 0, {"causal": 0, "masked": 0}
    for row in range(6):
        own = [
            -float(nats[row, at, label])
            for at, label in enumerate(example.labels[row].tolist())
            if label != NO
        ]
        predictions["causal" if example.extras["is_causal"][row] else "masked"] += len(own)
        if own:
            total += sum(own) / len(own) * int(batch.real[row].sum())
            weight += int(batch.real[row].sum())
    assert float(loss.sum) == pytest.approx(total, rel=1e-4)
    assert loss.divisor is not None
    assert float(loss.divisor) == weight
    assert {name: int(count) for name, (_, count) in loss.parts.items()} == predictions
    assert int(loss.predictions) == sum(predictions.values())
