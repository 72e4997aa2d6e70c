from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.pretraining.batch import IGNORED, Attention, Example
from bench.pretraining.encoder import Encoder
from bench.pretraining.heads import TokenHead, token
from bench.pretraining.heads.linear_nats import linear_nats
from bench.spec import EncoderShape


def drawn(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    sizes = ((23, 8), (51, 8), (51,))
    tensors = [torch.randn(size, generator=draw, dtype=dtype) * 2 for size in sizes]
    return [tensor.requires_grad_() for tensor in tensors]


LABELS = torch.arange(23) * 2
LABELS[5::7] = IGNORED


@pytest.mark.parametrize("rows", [1, 4, 23, 99])
def test_parts_of_the_logits_give_loss_and_gradients_of_all(rows: int) -> None:
    weights = torch.linspace(-1, 2, 23)
    features, table, bias = tensors = drawn(torch.float32)
    expected = F.cross_entropy(
        F.linear(features, table, bias), LABELS, ignore_index=IGNORED, reduction="none"
    )
    wanted = torch.autograd.grad((expected * weights).sum(), tensors)
    nats = linear_nats(features, table, bias, LABELS, rows * 51)
    found = torch.autograd.grad((nats * weights).sum(), tensors)
    torch.testing.assert_close(nats, expected, rtol=1e-5, atol=1e-5)
    assert (nats[LABELS == IGNORED] == 0).all()
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_the_table_has_a_float32_gradient_close_to_that_of_float32() -> None:
    tensors = drawn(torch.float32)
    exact = torch.autograd.grad(linear_nats(*tensors, LABELS).sum(), tensors)
    with torch.autocast("cpu", torch.bfloat16):
        nats = linear_nats(*tensors, LABELS, 51)
    assert nats.dtype == torch.float32
    found = torch.autograd.grad(nats.sum(), tensors)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_the_token_head_has_the_same_loss_both_ways() -> None:
    shape = EncoderShape(
        hidden_size=32, num_layers=1, num_heads=4, mlp_size=48, max_length=24, vocab_size=60
    )
    encoder, head = Encoder(shape, 0), TokenHead(shape)
    tokens = torch.arange(5, 25)[None]
    example = Example(tokens, Attention(), torch.where(tokens % 3 == 0, tokens, IGNORED))
    wanted = token.token_loss(encoder, head, example).sum
    nats = linear_nats(
        head.features(token._hidden(encoder, example)),
        encoder.token_table,
        head.bias,
        example.labels.flatten(),
        120,
    )
    torch.testing.assert_close(nats.sum(), wanted)
    assert torch.equal(token.token_nats(encoder, head, example) > 0, example.labels != IGNORED)
