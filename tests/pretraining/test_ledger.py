from __future__ import annotations

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import BenchError
from bench.pretraining.encoder import Encoder
from bench.pretraining.ledger import Ledger, check_passes, encoder_row_flops, step_flops
from bench.pretraining.noise import Noise
from bench.settings import from_mapping
from bench.spec import Budget, EncoderShape
from bench.testing import SAMPLE_VOCABULARY, sample_batch
from tests.helpers.registry import REGISTRY

SMALL = EncoderShape(
    hidden_size=32, num_layers=3, num_heads=4, mlp_size=48, max_length=64, vocab_size=500
)
OBJECTIVES = REGISTRY.of("objective")


@pytest.mark.parametrize("name", [name for name, cls in OBJECTIVES.items() if cls.trains])
def test_declared_cost_equals_measured_cost(name: str) -> None:
    objective = from_mapping(OBJECTIVES[name], {}, name)
    encoder, head = Encoder(SMALL, 0), objective.head(SMALL, SAMPLE_VOCABULARY)
    batch = sample_batch(
        1, SMALL.max_length
    )  # as long as in a run: the cost of attention is quadratic
    noise = Noise(0, 0, batch.example_ids)
    example = objective.corrupt(batch, SAMPLE_VOCABULARY, noise)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = objective.loss(encoder, head, example, noise)
        loss.sum.backward()
    cost = objective.extra_cost(SMALL)
    assert sum(p.numel() for p in head.parameters()) == cost.parameters
    assert encoder.tokens_read == SMALL.max_length * cost.encoder_passes
    length = SMALL.max_length
    row = encoder_row_flops(SMALL, length)
    slots = example.labels.numel() if loss.slots is None else loss.slots
    declared = step_flops(row, cost, length, slots)
    assert counter.get_total_flops() == pytest.approx(declared, rel=1e-6)


@pytest.mark.parametrize("axis", ["tokens", "predictions", "flops", "seconds"])
def test_progress_is_the_share_on_the_budget_axis(axis: str) -> None:
    ledger = Ledger(tokens=10, predictions=20, flops=30.0, seconds=40.0)
    spent = {"tokens": 10, "predictions": 20, "flops": 30, "seconds": 40}[axis]
    assert ledger.progress(Budget(axis, 80)) == spent / 80  # type: ignore[arg-type]
    assert ledger.progress(Budget(axis, 5)) == 1.0  # type: ignore[arg-type]


def test_more_passes_than_declared_are_refused() -> None:
    check_passes(64, 64, "example")
    with pytest.raises(BenchError, match=r"'example' broke its contract.*128.*64"):
        check_passes(128, 64, "example")
