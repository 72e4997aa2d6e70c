"""The layers as a GPU runs them: padded rows, block masks, one graph. Block masks run on a CPU too,
without a backward pass."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask

from bench.errors import FailedError
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.blocks import block_mask
from bench.pretraining.encoder.compiled import Compiled
from bench.pretraining.noise import Noise
from bench.spec import EncoderShape
from tests.helpers.paths import ROOT

SHAPE = EncoderShape(
    hidden_size=64, num_layers=2, num_heads=4, mlp_size=48, max_length=160, vocab_size=60
)


def pattern_of(name: str, rows: int, length: int) -> Attention:
    at = torch.arange(length)
    kinds: dict[str, Any] = {
        "padding": Attention("full", at[None] < torch.tensor([[length - 30], [length]])),
        "prefix": Attention("prefix", None, torch.tensor([length // 3, 0])),
        "documents": Attention("full", documents=(at[None] // 50).repeat(2, 1)),
        "causal documents": Attention("causal", documents=(at[None] // 70).repeat(2, 1)),
    }
    return kinds[name]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["padding", "prefix", "documents", "causal documents"])
def test_block_masks_show_what_boolean_masks_show(name: str) -> None:
    encoder, tokens = Encoder(SHAPE, 0).eval(), torch.arange(320).view(2, 160) % 50 + 5
    attention = pattern_of(name, 2, 160)
    blocks = block_mask(attention, 2, 160)
    assert isinstance(blocks, BlockMask)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is not compiled here
        found = encoder._run(tokens, blocks, False, None)
        expected = encoder(tokens, attention)
    is_text = torch.ones(2, 160, dtype=torch.bool)
    if attention.attention_mask is not None:
        is_text = attention.attention_mask
    torch.testing.assert_close(found[is_text], expected[is_text], rtol=1e-4, atol=1e-4)


def test_no_mask_where_a_kernel_without_one_does_the_same() -> None:
    padding = torch.arange(160)[None] < 100
    assert block_mask(Attention("full"), 1, 160) is None
    assert block_mask(Attention("causal", padding), 1, 160) is None


@pytest.fixture
def padding_encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """An encoder that pads rows to quarters of 16, without compiling."""
    monkeypatch.setenv("BENCH_COMPILE", "0")
    encoder = Encoder(SHAPE, 0)
    encoder.compile_forward(16)
    return encoder


@pytest.mark.parametrize("pattern", ["full", "causal", "prefix", "padding", "documents"])
def test_padded_rows_change_neither_features_nor_gradients(
    pattern: str, padding_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, length = 5, 24
    tokens = torch.arange(rows * length).view(rows, length) % 50 + 5
    at = torch.arange(length)[None].repeat(rows, 1)
    attention = {
        "full": Attention("full"),
        "causal": Attention("causal"),
        "prefix": Attention("prefix", None, torch.arange(rows)),
        "padding": Attention("full", at < 20),
        "documents": Attention("full", None, None, at // 9),
    }[pattern]
    noise = Noise(0, 0, torch.arange(rows))
    shapes: list[int] = []
    encoder, plain = padding_encoder, Encoder(SHAPE, 0)
    encoder.embeddings.register_forward_hook(lambda _m, _i, output: shapes.append(len(output)))
    results = []
    for one in (encoder, plain):
        one.set_dropout(0.2, noise)
        hidden = one(tokens, attention)
        (hidden[:, :20] ** 3).sum().backward()
        results.append((hidden, [p.grad for p in one.parameters()]))
        assert one.tokens_read == rows * length
    assert shapes == [8]
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_validation_is_neither_padded_nor_compiled(padding_encoder: Encoder) -> None:
    shapes: list[int] = []
    encoder = padding_encoder.eval()
    encoder.embeddings.register_forward_hook(lambda _m, _i, output: shapes.append(len(output)))
    encoder(torch.full((5, 24), 7), Attention())
    assert shapes == [5]


def test_a_micro_batch_has_at_most_four_numbers_of_rows() -> None:
    for rows in (1, 3, 8, 17, 64):
        compiled = Compiled(lambda tokens, *_: tokens, rows)
        padded = {compiled.padded(count) for count in range(1, rows + 1)}
        assert len(padded) <= 4
        assert max(padded) < rows + 4
        assert all(compiled.padded(count) >= count for count in range(1, rows + 1))


def test_a_graph_that_breaks_is_an_error() -> None:
    def breaks(tokens: torch.Tensor, *_: object) -> torch.Tensor:
        torch._dynamo.graph_break()
        return tokens

    with pytest.raises(FailedError, match=r"cannot be compiled.*BENCH_COMPILE=0"):
        Compiled(breaks, 4)(torch.zeros(4, 8).long(), Attention(), None, None)


PROGRAM = """
import functools
import torch
from torch._dynamo.utils import counters
from bench.errors import FailedError
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder, compiled
from bench.pretraining.noise import Noise
from bench.spec import EncoderShape

# What is compiled, and when again, is decided before a backend makes kernels, which takes minutes.
torch.compile = functools.partial(torch.compile, backend="eager")
shape = EncoderShape(
    hidden_size=16, num_layers=1, num_heads=2, mlp_size=24, max_length=16, vocab_size=60
)
encoder, plain = Encoder(shape, 0), Encoder(shape, 0)
encoder.compile_forward(8)
extra = torch.zeros(3, 16)
for rows in (8, 7, 3, 1, 5, 8, 2):
    tokens = torch.full((rows, 16), 7)
    torch.testing.assert_close(encoder(tokens, Attention()), plain(tokens, Attention()))
print(counters["stats"]["unique_graphs"])
encoder(tokens, Attention("causal"))
encoder(tokens, Attention("prefix", None, torch.arange(2)))
encoder(tokens, Attention(), extra)
encoder.set_dropout(0.1, Noise(0, 0, torch.arange(2)))
encoder(tokens, Attention()).sum().backward()
print(counters["stats"]["unique_graphs"])
torch._dynamo.config.recompile_limit = 1
try:
    encoder(torch.full((8, 9), 7), Attention())
except FailedError as error:
    print(error)
"""


@pytest.mark.slow
def test_few_graphs_are_compiled_and_too_many_are_an_error() -> None:
    """In a process of its own: the checks of shapes in these tests would break the graph."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows, patterns, error = done.stdout.splitlines()
    assert (int(rows), int(patterns)) == (4, 8)
    assert "FailOnRecompileLimitHit" in error
