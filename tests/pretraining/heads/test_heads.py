from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import BenchError
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initialise
from bench.pretraining.heads import Decoder, Generator
from bench.pretraining.ledger import encoder_row_flops, step_flops
from bench.pretraining.noise import Noise
from bench.spec import EncoderShape
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import build

SHAPE = EncoderShape(
    hidden_size=32, num_layers=2, num_heads=4, mlp_size=48, max_length=24, vocab_size=500
)
NARROW = EncoderShape(
    hidden_size=8, num_layers=2, num_heads=1, mlp_size=12, max_length=24, vocab_size=500
)


@pytest.fixture
def decoder() -> Decoder:
    made = Decoder(SHAPE, 2, 12, num_sentinels=3)
    initialise(made, 0, "head")
    return made


def test_decoder_attends_only_to_earlier_tokens(decoder: Decoder) -> None:
    written = torch.arange(12)[None] + 490  # includes sentinels
    memory, table = torch.randn(1, 5, 32), torch.randn(500, 32)
    logits = decoder(written, memory, None, table)
    assert logits.shape == (1, 12, 503)
    for place in range(12):
        other = written.clone()
        other[0, place] = 20
        moved = (decoder(other, memory, None, table) - logits).abs().amax(-1)[0]
        assert (moved[:place] == 0).all()
        assert (moved[place:] > 0).all()


def test_decoder_attends_to_the_encoder_output_of_tokens_only(decoder: Decoder) -> None:
    memory = torch.randn(1, 5, 32, requires_grad=True)
    attention_mask = torch.tensor([[True, True, False, True, False]])
    logits = decoder(torch.full((1, 4), 9), memory, attention_mask, torch.randn(500, 32))
    logits.logsumexp(-1).sum().backward()
    assert memory.grad is not None
    assert torch.equal(memory.grad[0].abs().sum(-1) > 0, attention_mask[0])


def test_decoder_depends_on_the_order_of_tokens(decoder: Decoder) -> None:
    memory, table = torch.randn(1, 5, 32), torch.randn(500, 32)
    one = decoder(torch.tensor([[10, 11, 12]]), memory, None, table)
    other = decoder(torch.tensor([[11, 10, 12]]), memory, None, table)
    assert not torch.allclose(one[:, 2], other[:, 2], atol=1e-4)


def test_rows_longer_than_the_decoder_s_are_refused() -> None:
    objective = build("t5_infilling", rate=0.5)
    encoder = Encoder(SHAPE, 0)
    short = EncoderShape(**{**vars(SHAPE), "max_length": 8})
    head = objective.head(short, VOCABULARY)
    batch = sample_batch(2, 24)
    noise = Noise(0, 0, batch.example_ids)
    example = objective.corrupt(batch, VOCABULARY, noise)
    with pytest.raises(BenchError, match=r"24 positions .* built for"):
        objective.loss(encoder, head, example, noise)


def test_residual_streams_of_a_head_start_at_the_encoder_s_scale() -> None:
    deep = Decoder(SHAPE, 9, 12)
    initialise(deep, 0, "head")
    spread = deep.layers[0].attn.Wo.weight.std().item()  # type: ignore[union-attr]
    assert spread == pytest.approx(0.02 * 27**-0.5, rel=0.1)  # three of nine layers write


def test_samples_follow_the_generator_s_distribution() -> None:
    generator = Generator(SHAPE, NARROW, VOCABULARY)
    logits = torch.full((1, 1, 500), -1e4)
    logits[..., [3, 17, 50, 499]] = torch.tensor([9.0, 0.0, 1.0, 2.0])  # 3 is [SEP]
    draws = Noise(0, 0, torch.arange(1)).uniform("sample", (1, 30_000))
    result = generator.sample(logits.expand(1, 30_000, -1), draws)[0]
    chances = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    shares = torch.stack([(result == token).float().mean() for token in (17, 50, 499)])
    assert torch.allclose(shares, chances, atol=4 * 0.5 / 30_000**0.5)
    assert shares.sum() == 1
    last = generator.sample(logits, torch.tensor([[1 - 2.0**-24]]))
    assert last.item() == 499


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("replaced_token", {"generator_width": 0.5, "rate": 0.3}),
        ("t5_infilling", {"decoder_layers": 1, "rate": "0.5->0.2", "mean_length": 1.5}),
        ("bart_denoise", {"decoder_layers": 3}),
        ("tsdae", {"decoder_layers": 2, "pooling": "mean"}),
        ("retromae", {"rate": "0.15->0.3"}),
    ],
)
def test_declared_cost_is_measured_cost_with_other_settings(
    name: str, values: dict[str, Any]
) -> None:
    objective = build(name, **values)
    encoder, head = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    batch = sample_batch(3, SHAPE.max_length)
    noise = Noise(0, 0, batch.example_ids)
    example = objective.corrupt(batch, VOCABULARY, noise)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        objective.loss(encoder, head, example, noise).sum.backward()
    cost = objective.extra_cost(SHAPE)
    length = SHAPE.max_length
    row = encoder_row_flops(SHAPE, length)
    declared = step_flops(3 * row, cost, 3 * length, example.labels.numel())
    assert counter.get_total_flops() == pytest.approx(declared, rel=1e-9)
    assert sum(p.numel() for p in head.parameters()) == cost.parameters


@pytest.mark.slow  # the conformance kit checks this for every objective, with fewer steps
@pytest.mark.parametrize(
    "name", ["replaced_token", "t5_infilling", "bart_denoise", "tsdae", "retromae"]
)
def test_thirty_steps_on_one_batch_lower_the_loss(name: str) -> None:
    objective = build(name)
    encoder, head = Encoder(SHAPE, 0), objective.head(SHAPE, VOCABULARY)
    initialise(head, 0, "head")
    batch = sample_batch(4, SHAPE.max_length)
    noise = Noise(0, 0, batch.example_ids)
    example = objective.corrupt(batch, VOCABULARY, noise)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=4e-3)
    course = []
    for _ in range(30):
        loss = objective.loss(encoder, head, example, noise)
        (loss.sum / loss.predictions).backward()
        assert all(p.grad is not None for p in parameters)
        optimizer.step()
        optimizer.zero_grad()
        course.append(loss.sum.item() / int(loss.predictions))
    assert course[-1] < 0.7 * course[0]
