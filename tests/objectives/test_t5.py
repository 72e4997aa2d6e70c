from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Batch, Example
from bench.pretraining.noise import Noise
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import Scripted, build

FIRST_SENTINEL = VOCABULARY.size


def t5(**values: Any) -> Any:
    return build("t5_infilling", **values)


def corrupt(objective: Any, batch: Batch, **draws: list[float]) -> Example:
    noise = Scripted(0, 0, batch.example_ids, draws)
    example: Example = objective.corrupt(batch, VOCABULARY, noise)
    return example


def row_of(*tokens: int) -> Batch:
    row = torch.tensor([tokens])
    real = row > 4
    return Batch(row, real, real, real, torch.tensor([0]), attention_mask=row > 0)


def plain(rows: int, length: int) -> Batch:
    """Rows without separators: [CLS] and length - 1 tokens."""
    tokens = torch.arange(length).expand(rows, -1) + 10
    real = torch.arange(length).expand(rows, -1) > 0
    tokens = torch.where(real, tokens, VOCABULARY.cls_id)
    return Batch(tokens, real, real, real, torch.arange(rows))


def test_by_hand_the_paper_s_example() -> None:
    """thank you for inviting me to your party last week, with T5's layout of inputs and targets."""
    batch = row_of(2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 3)
    # Visible parts of 3 and 4, hidden ones of 2 and 1: _ _ _ H H _ _ _ _ H, rotated by 9 places.
    draws: dict[str, list[float]] = {"kept": [9, 9, 0], "hidden": [9, 0], "roll": [0.95]}
    example = corrupt(t5(rate=0.3, mean_length=1.5), batch, **draws)
    assert example.inputs.tolist() == [[2, 10, 11, 500, 14, 15, 16, 17, 501, 19, 3, 0]]
    assert example.labels.tolist() == [[500, 12, 13, 501, 18, 3, *[IGNORED] * 3]]
    assert example.extras["written"].tolist() == [[3, 500, 12, 13, 501, 18, 3, 0, 0]]
    assert example.origins is not None
    assert example.origins.tolist() == [[0, 1, 2, -1, 5, 6, 7, 8, -1, 10, 11, -1]]
    assert example.attention.pattern == "full"
    assert example.attention.attention_mask is not None
    assert example.attention.attention_mask.tolist() == [[True] * 11 + [False]]


def test_by_hand_without_roll() -> None:
    batch = row_of(2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 3)
    objective = t5(rate=0.3, mean_length=1.5, roll=False)
    example = corrupt(objective, batch, kept=[9, 9, 0], hidden=[9, 0])
    assert example.inputs.tolist() == [[2, 10, 11, 12, 500, 15, 16, 17, 18, 501, 3, 0]]
    assert example.labels.tolist() == [[500, 13, 14, 501, 19, 3, IGNORED, IGNORED]]


def test_by_hand_a_span_rotated_over_the_end_is_two() -> None:
    batch = row_of(2, 10, 11, 12, 13, 14)  # 2 hidden in one span: _ _ _ H H, rotated by one
    example = corrupt(t5(rate=0.4), batch, roll=[0.3])
    assert example.inputs.tolist() == [[2, 500, 11, 12, 13, 501]]
    assert example.labels[0, :5].tolist() == [500, 10, 501, 14, 3]


def test_by_hand_a_span_over_a_separator_has_one_sentinel() -> None:
    batch = row_of(2, 10, 11, 12, 3, 13, 3, 0)
    example = corrupt(t5(rate=0.5, roll=False), batch)
    assert example.inputs.tolist() == [[2, 10, 11, 500, 3, 3, 0, 0]]
    assert example.labels[0, :4].tolist() == [500, 12, 13, 3]


def reference_counts(n: int, rate: float, mean: float) -> tuple[int, int]:
    """Hidden tokens and spans, as the paper's code counts them."""
    hidden = max(min(max(round(n * rate), 1), n - 1), 0)
    spans = max(round(hidden / mean), 1)
    return hidden, min(spans, hidden, n - hidden)


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.5, 1.0), (0.9, 1.0), (0.3, 1.7)])
def test_counts_of_tokens_and_spans_are_exact(rate: float, mean: float) -> None:
    length = 65
    tokens = plain(length, length).tokens
    real = torch.arange(length) <= torch.arange(length)[:, None]  # row r has r tokens
    real[:, 0] = False
    batch = Batch(tokens, real, real, real, torch.arange(length))
    objective = t5(rate=rate, mean_length=mean, roll=False)
    pattern = objective.choose(batch, Noise(0, 0, batch.example_ids))
    starts = pattern & ~torch.nn.functional.pad(pattern[:, :-1], (1, 0))
    for n in range(length):
        hidden, spans = reference_counts(n, rate, mean)
        assert (int(pattern[n].sum()), int(starts[n].sum())) == (hidden, spans)
        if hidden:
            assert not pattern[n, 0]
            assert pattern[n, n - 1]
        assert not pattern[n, n:].any()


@pytest.mark.parametrize("values", [{}, {"roll": False, "rate": 0.5, "mean_length": 1.0}])
def test_target_inserted_into_the_input_is_the_text(values: dict[str, Any]) -> None:
    batch = sample_batch(64, 48)
    example = t5(**values).corrupt(batch, VOCABULARY, Noise(5, 0, batch.example_ids))
    for row in range(64):
        spans: dict[int, list[int]] = {}
        target = [i for i in example.labels[row].tolist() if i != IGNORED]
        assert target[-1] == VOCABULARY.sep_id
        for token in target[:-1]:
            if token >= FIRST_SENTINEL:
                assert token == FIRST_SENTINEL + len(spans)  # in order, without gaps
                spans[token] = []
            else:
                spans[max(spans)].append(token)
        assert all(spans.values())
        attention_mask = example.attention.attention_mask[row]
        text: list[int] = []
        for token in example.inputs[row][attention_mask].tolist():
            text += spans.pop(token) if token >= FIRST_SENTINEL else [token]
        assert not spans
        ordinary = [token for token in text if token > 4]
        assert ordinary == batch.tokens[row][batch.real[row]].tolist()
        special = [token for token in text if token <= 4]
        there = ~batch.real[row] & (batch.tokens[row] != VOCABULARY.pad_id)
        assert special == batch.tokens[row][there].tolist()


def test_partitions_are_uniform() -> None:
    """Eight visible tokens in three parts: 21 ways; six hidden in three: 10."""
    rows = 21_000
    pattern = t5(rate=0.43, mean_length=2.0, roll=False).choose(
        plain(rows, 15), Noise(0, 0, torch.arange(rows))
    )
    changes = pattern[:, 1:14] != pattern[:, :13]
    ways = collections.Counter(map(tuple, changes.long().tolist()))
    assert len(ways) == 21 * 10
    expected = rows / len(ways)
    chi_squared = sum((n - expected) ** 2 / expected for n in ways.values())
    assert chi_squared < 209 + 4 * (2 * 209) ** 0.5


def test_roll_makes_the_position_profile_flat() -> None:
    rows = 8_000
    batch = plain(rows, 65)  # 64 tokens, 10 of them hidden in 3 spans
    noise = Noise(0, 0, batch.example_ids)
    flat = t5().choose(batch, noise)[:, :64].double().mean(0)
    deviation = (10 / 64 * 54 / 64 / rows) ** 0.5
    assert (flat - 10 / 64).abs().max() < 4.5 * deviation
    steep = t5(roll=False).choose(batch, noise)[:, :64].double().mean(0)
    assert steep[0] == 0
    assert steep[-1] == 1
    assert steep[-6:].mean() == pytest.approx(0.56, abs=0.04)  # the last tenth
    short = t5(roll=False).choose(plain(100, 21), Noise(0, 0, torch.arange(100)))
    assert short[:, 17:20].all()  # n = 20: one span, always the tail


def test_the_capacity_holds_at_every_rate() -> None:
    for values in ({}, {"rate": "0.9->0.1", "mean_length": 1.0}, {"rate": 1.0}, {"rate": 0.0}):
        for progress in (0.0, 0.5, 1.0):
            batch = dataclasses.replace(plain(40, 33), progress=progress)
            objective = t5(**values)
            example = objective.corrupt(batch, VOCABULARY, Noise(0, 0, batch.example_ids))
            assert (example.labels == VOCABULARY.sep_id).any(1).all()  # room for the end
            assert example.labels.max() < FIRST_SENTINEL + objective.num_sentinels(33)
            assert example.labels.shape == (40, objective.target_length(33))


@pytest.mark.parametrize("tokens", [(2, 3, 0, 0), (2, 10, 3, 0)])
def test_with_less_than_two_tokens_nothing_is_predicted(tokens: tuple[int, ...]) -> None:
    example = corrupt(t5(), row_of(*tokens))
    assert example.inputs.tolist() == [list(tokens)]
    assert (example.labels == IGNORED).all()


def test_with_two_tokens_one_is_predicted() -> None:
    example = corrupt(t5(roll=False), row_of(2, 10, 11, 3, 0))
    assert example.inputs.tolist() == [[2, 10, 500, 3, 0]]
    assert example.labels[0, :3].tolist() == [500, 11, 3]


def test_rows_do_not_depend_on_each_other() -> None:
    batch = sample_batch(9, 40)
    whole = t5().corrupt(batch, VOCABULARY, Noise(0, 1, batch.example_ids))
    some = rows_of(batch, torch.tensor([7, 2]))
    part = t5().corrupt(some, VOCABULARY, Noise(0, 1, some.example_ids))
    assert torch.equal(part.labels, whole.labels[[7, 2]])
    assert torch.equal(part.inputs, whole.inputs[[7, 2]])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(BenchError, match="mean_length"):
        t5(mean_length=0.5)
    with pytest.raises(BenchError, match="decoder_layers"):
        t5(decoder_layers=0)
    assert t5(decoder_layers="2").decoder_layers == 2
