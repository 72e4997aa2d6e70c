from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.corpus.preparation import PreparedCorpus
from bench.pretraining.accelerator.memory import FILLED, StepMemory
from bench.pretraining.batch import Attention
from bench.pretraining.encoder import Encoder
from bench.pretraining.ledger import Cost
from bench.pretraining.loop import Pretraining
from bench.sizes import size_named
from bench.spec import EncoderShape

MakeSpec = Callable[..., Any]
GIGABYTE = 2**30


def saved_bytes(shape: EncoderShape, rows: int) -> int:
    """What the backward pass of the layers keeps in bfloat16, weights aside."""
    encoder, kept = Encoder(shape, 0), {}
    weights = {tuple(sorted(p.shape)) for p in encoder.parameters()}
    tensors = []  # alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tuple(sorted(tensor.shape)) not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            tensors.append(tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        encoder(torch.full((rows, shape.max_length), 7), Attention("full"))
    return sum(kept.values())


@pytest.mark.parametrize(("hidden", "mlp"), [(64, 96), (128, 192), (64, 256)])
def test_the_estimate_is_what_the_backward_pass_keeps(
    hidden: int, mlp: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # not rotated in place
    shape = EncoderShape(
        hidden_size=hidden, num_layers=6, num_heads=2, mlp_size=mlp, max_length=128, vocab_size=64
    )
    estimate = 8 * StepMemory(shape, Cost(), 20, False).per_row(128)
    assert 0.9 < estimate / saved_bytes(shape, 8) < 1.1


def test_more_micro_batches_where_memory_is_short() -> None:
    base = size_named("base")
    shape, rows = base.encoder, base.training.batch_tokens // base.encoder.max_length
    memory = StepMemory(shape, Cost(), 77, False)
    counts = {
        free: memory.micro_batches(rows, 512, float(free * GIGABYTE), 1, rows)
        for free in (8, 24, 80, 800)
    }
    assert counts[8] > counts[24] > counts[80] > counts[800] == 1
    for free, count in counts.items():
        assert memory.total(-(-rows // count), 512) <= FILLED * float(free * GIGABYTE)
    assert memory.micro_batches(rows, 512, 800.0 * GIGABYTE, 3, rows) == 3  # of three ranks
    assert memory.micro_batches(rows, 512, 1.0, 1, 100) == 64  # never more than there are parts
    twice = StepMemory(shape, Cost(encoder_passes=2), 77, False)
    assert twice.micro_batches(rows, 512, 24.0 * GIGABYTE, 1, rows) > counts[24]


def test_a_run_chooses_before_it_tries(make_spec: MakeSpec, corpus: PreparedCorpus) -> None:
    run = Pretraining(*make_spec("replaced_token"), corpus, "cpu")
    run._fit_memory(free=1e12)
    assert run.gradient_accumulation_steps == 1
    run._fit_memory(free=1.0)
    assert run.gradient_accumulation_steps == 8  # of 8 rows
    run.step()
