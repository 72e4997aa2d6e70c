from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Example
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.heads import Decoder
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch
from tests.helpers.by_hand import SHAPE, Scripted, batch_of, build, noise_for


def modules(**values: Any) -> tuple[Any, Encoder, Decoder]:
    objective = build("tsdae", **values)
    head = initial_head(lambda: objective.head(SHAPE, VOCABULARY), 0)
    assert isinstance(head, Decoder)
    return objective, Encoder(SHAPE, 0), head


def test_by_hand_tokens_are_deleted_and_all_are_predicted() -> None:
    batch = batch_of([2, 10, 11, 12, 13, 14, 3, 0])
    draws = {"deleted": [99, 5, 50, 1, 60, 2, 99, 99]}  # the smallest three of five ordinary tokens
    noise = Scripted(0, 0, batch.example_ids, {k: list(map(float, v)) for k, v in draws.items()})
    example: Example = build("tsdae").corrupt(batch, VOCABULARY, noise)
    assert example.inputs.tolist() == [[2, 11, 13, 3, 0, 0, 0, 0]]
    assert example.origins is not None
    assert example.origins.tolist() == [[0, 2, 4, 6, -1, -1, -1, -1]]
    assert example.labels.tolist() == [[IGNORED, 10, 11, 12, 13, 14, IGNORED, IGNORED]]
    assert example.extras["written"].tolist() == [[3, 2, 10, 11, 12, 13, 14, 3]]
    assert example.attention.attention_mask is not None
    assert example.attention.attention_mask.tolist() == [[True] * 4 + [False] * 4]


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6, 1.0])
def test_the_share_of_deleted_tokens_is_exact(rate: float) -> None:
    batch = sample_batch(64, 48)
    example = build("tsdae", delete_rate=rate).corrupt(batch, VOCABULARY, noise_for(batch))
    remaining = ((example.origins >= 0) & ~VOCABULARY.is_special(example.inputs)).sum(1)
    deleted = (batch.real.sum(1).double() * rate).round().long()
    assert torch.equal(remaining, (batch.real.sum(1) - deleted).clamp(min=1))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_loss_by_a_slow_loop_over_rows(pooling: str) -> None:
    """The decoder alone, row by row without padding, from the vector of the row."""
    objective, encoder, decoder = modules(pooling=pooling, delete_rate=0.5)
    batch = sample_batch(4, 24)
    noise = noise_for(batch)
    example = objective.corrupt(batch, VOCABULARY, noise)
    loss = objective.loss(encoder, decoder, example, noise)
    hidden = encoder(example.inputs, example.attention)
    total, count = 0.0, 0
    for row in range(4):
        visible = hidden[row, example.attention.attention_mask[row]]
        vector = visible[0] if pooling == "first" else visible.mean(0)
        written = example.extras["written"][row][None]
        logits = decoder(written, vector[None, None], None, encoder.token_table)[0]
        real = batch.real[row]
        total += F.cross_entropy(logits[real], batch.tokens[row][real], reduction="sum").item()
        count += int(real.sum())
    assert loss.sum.item() == pytest.approx(total, rel=1e-5)
    assert int(loss.predictions) == count


def test_with_one_vector_the_cross_attention_is_a_constant_of_the_row() -> None:
    """The layer adds Wo(Wv(vector)), the same at every place and for every query."""
    _, _, decoder = modules()
    cross = decoder.layers[0].cross  # type: ignore[union-attr]
    vector, queries = torch.randn(3, 1, 16), torch.randn(3, 5, 16)
    value = F.linear(vector, cross.Wkv.weight[16:])
    torch.testing.assert_close(cross(queries, vector, None), cross.Wo(value).expand(-1, 5, -1))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_decoder_knows_the_encoder_s_output_by_the_vector_alone(
    pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, encoder, decoder = modules(pooling=pooling)
    batch = sample_batch(3, 24)
    example = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    hidden = encoder(example.inputs, example.attention).detach().requires_grad_()
    monkeypatch.setattr(encoder, "_last_state", lambda *arguments: hidden)
    objective.loss(encoder, decoder, example, noise_for(batch)).sum.backward()
    assert hidden.grad is not None
    reached = hidden.grad.abs().sum(-1) > 0
    expected = example.attention.attention_mask.clone()
    if pooling == "first":
        expected[:, 1:] = False
    assert torch.equal(reached, expected)
    if pooling == "mean":  # every token has the same part in the mean
        torch.testing.assert_close(hidden.grad[:, 0], hidden.grad[:, 1])


def test_the_depth_of_the_decoder_is_a_setting() -> None:
    for layers, expected in ((1, 1), (3, 3), (None, SHAPE.num_layers)):
        _, _, decoder = modules(decoder_layers=layers)
        assert len(decoder.layers) == expected
    with pytest.raises(BenchError, match="pooling"):
        build("tsdae", pooling="last")
    with pytest.raises(BenchError, match="delete_rate"):
        build("tsdae", delete_rate=1.5)
