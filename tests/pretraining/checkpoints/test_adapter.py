"""Encoders of transformers: equal to theirs, without leaks, and with their true cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.pretraining.batch import Attention
from bench.pretraining.checkpoints.adapter import CheckpointEncoder
from bench.pretraining.checkpoints.modules import load_checkpoint_modules
from bench.pretraining.checkpoints.source import open_checkpoint
from bench.pretraining.noise import Noise
from tests.helpers.checkpoints import FAMILIES, saved_model

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow
families = pytest.mark.parametrize("family", FAMILIES)


def loaded(folder: Path) -> tuple[CheckpointEncoder, Any, int]:
    checkpoint = open_checkpoint(str(folder))
    encoder, head = load_checkpoint_modules(checkpoint.init, checkpoint.shape)
    assert isinstance(encoder, CheckpointEncoder)
    return encoder.eval(), head, checkpoint.shape.vocab_size


def tokens_of(size: int, length: int = 20, rows: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(5, size, (rows, length), generator=generator)


@families
@torch.no_grad()
def test_full_attention_equals_that_of_transformers(family: str, tmp_path: Path) -> None:
    model, folder = saved_model(family, tmp_path)
    encoder, head, size = loaded(folder)
    tokens = tokens_of(size)
    theirs = model(tokens, output_hidden_states=True)
    ours = encoder.hidden_states(tokens, Attention())
    assert len(ours) == len(theirs.hidden_states)
    for mine, its in zip(ours, theirs.hidden_states, strict=True):
        assert torch.equal(mine, its)
    if head is not None:
        logits = head(ours[-1], encoder.token_table)
        torch.testing.assert_close(logits, theirs.logits[..., :size], rtol=1e-5, atol=1e-5)
    else:
        assert family == "electra_small"


@families
@torch.no_grad()
def test_padding_is_ignored(family: str, tmp_path: Path) -> None:
    model, folder = saved_model(family, tmp_path)
    encoder, _, size = loaded(folder)
    tokens, mask = tokens_of(size), torch.ones(3, 20, dtype=torch.bool)
    tokens[1, 6:], mask[1, 6:] = model.config.pad_token_id, False
    alone = encoder(tokens[1:2, :6], Attention())
    for pattern in ("full", "causal"):
        padded = encoder(tokens, Attention(pattern, mask))  # type: ignore[arg-type]
        assert torch.isfinite(padded).all()
        if pattern == "full":
            torch.testing.assert_close(padded[1:2, :6], alone, rtol=1e-4, atol=1e-5)
    theirs = model(tokens, attention_mask=mask.long(), output_hidden_states=True)
    padded = encoder(tokens, Attention("full", mask))
    torch.testing.assert_close(padded[mask], theirs.hidden_states[-1][mask], rtol=1e-4, atol=1e-5)


@families
@pytest.mark.parametrize("pattern", ["causal", "prefix"])
@torch.no_grad()
def test_no_feature_depends_on_a_hidden_position(family: str, pattern: str, tmp_path: Path) -> None:
    encoder, _, size = loaded(saved_model(family, tmp_path)[1])
    tokens = tokens_of(size)
    prefix = torch.tensor([0, 4, 9]) if pattern == "prefix" else None
    attention = Attention(pattern, None, prefix)  # type: ignore[arg-type]
    before = encoder.hidden_states(tokens, attention)
    for at in (3, 12, 19):
        changed = tokens.clone()
        changed[:, at] = (changed[:, at] + 1 - 5) % (size - 5) + 5
        after = encoder.hidden_states(changed, attention)
        for row in range(3):
            hidden = at if prefix is None or at >= prefix[row] else 0
            for one, other in zip(before, after, strict=True):
                assert torch.equal(one[row, :hidden], other[row, :hidden])
                assert not torch.equal(one[row, at], other[row, at])


@families
def test_extra_tokens_get_their_own_embeddings(family: str, tmp_path: Path) -> None:
    encoder, _, size = loaded(saved_model(family, tmp_path)[1])
    tokens, table = tokens_of(size), encoder.token_table
    extra = table[[7, 9]].detach().clone().requires_grad_()
    sentinels = tokens.clone()
    sentinels[:, 4], sentinels[:, 8] = size, size + 1
    tokens[:, 4], tokens[:, 8] = 7, 9
    features = encoder(sentinels, Attention(), extra)
    if family != "electra_small":  # its rows pass through a projection and back
        torch.testing.assert_close(features, encoder(tokens, Attention()))
    features.sum().backward()  # type: ignore[no-untyped-call]
    assert extra.grad is not None
    assert extra.grad.abs().sum() > 0


@families
def test_flops_and_tokens_are_those_of_the_counter(family: str, tmp_path: Path) -> None:
    encoder, _, size = loaded(saved_model(family, tmp_path)[1])
    tokens = tokens_of(size)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(tokens, Attention())
        if family == "electra_small":
            encoder.token_table  # noqa: B018  # projected once in a pass, for the logits
    assert counter.get_total_flops() == pytest.approx(encoder.forward_flops(3, 20), rel=1e-6)
    assert encoder.tokens_read == tokens.numel()


@families
def test_dropout_is_a_function_of_the_noise(family: str, tmp_path: Path) -> None:
    encoder, _, size = loaded(saved_model(family, tmp_path)[1])
    tokens, noise = tokens_of(size), Noise(0, 0, torch.arange(3))
    plain = encoder(tokens, Attention())
    torch.testing.assert_close(encoder.train()(tokens, Attention()), plain)  # none by default

    def dropped(epoch: int) -> torch.Tensor:
        encoder.set_dropout(0.3, Noise(0, epoch, noise.example_ids))
        torch.manual_seed(torch.seed())
        return encoder(tokens, Attention())

    assert torch.equal(dropped(0), dropped(0))
    assert not torch.equal(dropped(0), dropped(1))
    assert not torch.equal(dropped(0), plain)
    drops = dropped(0)
    encoder.eval()
    torch.testing.assert_close(encoder(tokens, Attention()), plain)
    with encoder.dropout(0.3, Noise(0, 0, noise.example_ids)):
        first, second = encoder(tokens, Attention()), encoder(tokens, Attention())
    assert torch.equal(first, drops)
    assert not torch.equal(second, first)
    torch.testing.assert_close(encoder(tokens, Attention()), plain)


@families
def test_the_maximum_length_is_that_of_the_positions(family: str, tmp_path: Path) -> None:
    encoder, _, size = loaded(saved_model(family, tmp_path)[1])
    longest = encoder.shape.max_length
    assert longest == (32 - 2 if "roberta" in family else 32)
    encoder(tokens_of(size, longest), Attention())
    with pytest.raises(ValueError, match="shorten them"):
        encoder(tokens_of(size, longest + 1), Attention())
