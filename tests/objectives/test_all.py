from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Batch
from bench.pretraining.corruption.sampling import (
    ROUNDS,
    _num_draws,
    choose_units,
    unit_positions_on_cpu,
    unit_positions_on_gpu,
)
from bench.pretraining.corruption.spans import truncated_geometric
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Objective
from bench.settings import as_mapping, from_mapping
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import rows_of, sample_batch
from tests.helpers.by_hand import REGISTRY, build, noise_for

MASKED = ("token", "whole_word", "span")
ALL = tuple(REGISTRY.of("objective"))


def predicted(example: Any, batch: Batch) -> torch.Tensor:
    """A mask of the predicted positions."""
    mask = torch.zeros_like(batch.real)
    for row, (positions, labels) in enumerate(zip(example.positions, example.labels, strict=True)):
        mask[row, positions[labels != IGNORED]] = True
    return mask


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 1.0])
def test_realised_rate(name: str, rate: float) -> None:
    batch = sample_batch(64, 128)
    example = build(name, rate=rate).corrupt(batch, VOCABULARY, noise_for(batch))
    result = predicted(example, batch).sum(1)
    quota = (batch.real.sum(1) * rate + 0.5).floor()
    if name == "token":
        assert torch.equal(result, quota.long())
    else:  # whole words never exceed the quota; a trimmed run falls short by a part of a word
        assert (result <= quota).all()
        assert result.sum() >= (0.94 if name == "span" else 0.99) * quota.sum()


@pytest.mark.parametrize("name", MASKED)
def test_no_special_token_is_hidden_predicted_or_drawn(name: str) -> None:
    batch = sample_batch(64, 128)
    example = build(name, rate=0.9, random_fraction=0.2).corrupt(
        batch, VOCABULARY, noise_for(batch)
    )
    assert torch.equal(example.inputs[~batch.real], batch.tokens[~batch.real])
    assert not VOCABULARY.is_special(example.labels[example.labels != IGNORED]).any()
    shown = example.inputs[batch.real]
    assert set(shown[VOCABULARY.is_special(shown)].tolist()) == {VOCABULARY.mask_id}
    mask = predicted(example, batch)
    labels = example.labels[example.labels != IGNORED]
    rows, slots = (example.labels != IGNORED).nonzero(as_tuple=True)
    assert torch.equal(labels, batch.tokens[rows, example.positions[rows, slots]])
    assert len(labels) == mask.sum()
    assert torch.equal(example.inputs[~mask], batch.tokens[~mask])


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=15)
@given(st.data())
def test_masks_do_not_depend_on_the_batch_split(name: str, data: st.DataObject) -> None:
    batch = sample_batch(12, 40, seed=3)
    order = torch.tensor(data.draw(st.permutations(range(12)))[: data.draw(st.integers(1, 12))])
    objective = build(name)
    whole = objective.corrupt(batch, VOCABULARY, noise_for(batch))
    part_batch = rows_of(batch, order)
    part = objective.corrupt(part_batch, VOCABULARY, noise_for(part_batch))
    assert torch.equal(part.inputs, whole.inputs[order])
    assert torch.equal(part.labels, whole.labels[order])


@pytest.mark.parametrize("name", ALL)
def test_corruption_is_pure(name: str) -> None:
    batch = sample_batch(8, 64)
    before = [field.clone() for field in vars(batch).values() if isinstance(field, torch.Tensor)]
    state = torch.get_rng_state()
    first = build(name).corrupt(batch, VOCABULARY, noise_for(batch))
    again = build(name).corrupt(batch, VOCABULARY, noise_for(batch))
    after = [field for field in vars(batch).values() if isinstance(field, torch.Tensor)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", MASKED)
def test_static_masking_repeats_and_dynamic_does_not(name: str) -> None:
    batch = sample_batch(8, 64)

    def inputs(masking: str, epoch: int) -> torch.Tensor:
        objective = build(name, masking=masking)
        return objective.corrupt(batch, VOCABULARY, noise_for(batch, epoch=epoch)).inputs

    assert torch.equal(inputs("static", 0), inputs("static", 5))
    assert torch.equal(inputs("static", 5), inputs("dynamic", 0))
    assert not torch.equal(inputs("dynamic", 0), inputs("dynamic", 5))


@pytest.mark.parametrize("draw", ["token", "word", "span"])
def test_replacement_shares(draw: str) -> None:
    batch = sample_batch(400, 128)
    example = build("span", draw=draw).corrupt(batch, VOCABULARY, noise_for(batch))
    mask = predicted(example, batch)
    is_mask = (example.inputs == VOCABULARY.mask_id) & mask
    is_kept = (example.inputs == batch.tokens) & mask
    units = mask.sum().item() / {"token": 1, "word": 1.6, "span": 6}[draw]
    tolerance = 5 * (0.8 * 0.2 / units) ** 0.5
    assert abs((is_mask.sum() / mask.sum()).item() - 0.8) < tolerance
    # A random token is the original one in 495 cases: it then counts as unchanged.
    assert abs((is_kept.sum() / mask.sum()).item() - 0.1) < tolerance + 0.1 / 400
    run_start = mask & ~torch.nn.functional.pad(mask[:, :-1], (1, 0))
    goes_on = {"token": torch.zeros_like(mask), "word": mask & ~batch.word_start & ~run_start}
    inside = goes_on.get(draw, mask & ~run_start)
    left = torch.nn.functional.pad(is_mask[:, :-1], (1, 0))
    assert (is_mask == left)[inside].all()  # one draw per unit


def test_span_lengths_are_truncated_geometric() -> None:
    draws = Noise(0, 0, torch.arange(1000)).uniform("lengths", (1000, 200))
    lengths = truncated_geometric(draws, 3.7971, 10)
    weights = torch.tensor([0.2 * 0.8**k for k in range(10)], dtype=torch.float64)
    expected = weights / weights.sum()
    result = torch.bincount(lengths.flatten(), minlength=11)[1:] / lengths.numel()
    mean = (expected * torch.arange(1, 11)).sum().item()
    deviation = ((expected * torch.arange(1, 11) ** 2).sum().item() - mean**2) ** 0.5
    assert abs(mean - 3.797) < 5e-4
    assert abs(lengths.double().mean().item() - mean) < 4 * deviation / lengths.numel() ** 0.5
    assert (result - expected).abs().max() < 5e-3  # clipping at 10 would put 0.13 there, not 0.03


@pytest.mark.parametrize("mean", [1.0, 2.5, 5.5])
def test_span_mean_length_is_realised(mean: float) -> None:
    draws = Noise(1, 0, torch.arange(500)).uniform("lengths", (500, 200))
    lengths = truncated_geometric(draws, mean, 10)
    assert abs(lengths.double().mean().item() - mean) < 4 * 2.9 / lengths.numel() ** 0.5
    assert 1 <= lengths.min() <= lengths.max() <= 10


def test_span_runs_are_as_long_as_drawn() -> None:
    """One run per row (a quota its first run meets), in a row of one-token words."""
    batch = sample_batch(2000, 400, words=1.0)
    batch = dataclasses.replace(
        batch,
        tokens=batch.tokens.clamp(min=5),
        real=batch.tokens >= 0,
        word_start=batch.tokens >= 0,
    )
    objective = build("span", rate=0.0025)  # a quota of one token
    mask = objective.choose(batch, noise_for(batch))
    assert (mask.sum(1) == 1).all()
    first, after = objective._draw_runs(
        batch, objective.words(batch) & batch.real, noise_for(batch)
    )
    lengths = (after - first)[:, 0]
    assert abs(lengths.double().mean().item() - 3.797) < 4 * 2.5 / 2000**0.5 + 0.05


@pytest.mark.parametrize("name", ["whole_word", "span"])
def test_words_are_hidden_whole(name: str) -> None:
    batch = sample_batch(64, 128)
    mask = predicted(
        build(name, mask_fraction=1.0, random_fraction=0.0).corrupt(
            batch, VOCABULARY, noise_for(batch)
        ),
        batch,
    )
    inside = batch.real & ~batch.word_start
    left = torch.nn.functional.pad(mask[:, :-1], (1, 0))
    assert (mask == left)[inside].all()


def test_span_trimmed_at_a_token_meets_the_quota_exactly() -> None:
    batch = sample_batch(64, 128)
    objective = build("span", trim="token")
    mask = objective.choose(batch, noise_for(batch))
    assert torch.equal(mask.sum(1), objective.quota(batch))


def test_span_runs_stay_within_a_document() -> None:
    batch = sample_batch(32, 64)
    objective = build("span", rate=0.3, mean_length=5.5)
    first, after = objective._draw_runs(
        batch, objective.words(batch) & batch.real, noise_for(batch)
    )
    for row in range(32):
        for low, high in zip(first[row].tolist(), after[row].tolist(), strict=True):
            assert batch.real[row, low:high].all()
            assert batch.word_start[row, low]


def units_one_by_one(starts: list[bool], real: list[bool]) -> list[list[int]]:
    """The units of a row; a token that is not real is an empty unit."""
    units: list[list[int]] = []
    for at, is_real in enumerate(real):
        if starts[at] or not is_real:
            units.append([])
        if units:
            units[-1].append(at)
    return [unit if starts[unit[0]] and real[unit[0]] else [] for unit in units]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.02, 0.9), st.floats(0.2, 1.0))
def test_units_are_chosen_as_one_by_one(seed: int, rate: float, words: float) -> None:
    batch = sample_batch(4, 60, seed=seed, words=words)
    noise = noise_for(batch, seed)
    quota = (batch.real.sum(1) * rate).long()
    most = int(60 * rate)
    result = choose_units(batch.word_start, batch.real, quota, most, noise)
    for row in range(4):
        units = units_one_by_one(batch.word_start[row].tolist(), batch.real[row].tolist())
        num_draws = _num_draws(60, most)
        if num_draws < 60:
            bits = noise.bits("units", (4, num_draws))[row].tolist()
            order = list(dict.fromkeys(x * len(units) >> 32 for x in bits))
        else:
            keys = noise.bits("units", (4, 60))[row].tolist()
            order = sorted(range(len(units)), key=lambda number: keys[number])
        room, chosen, skipped = int(quota[row]), set(), 0
        for unit in (units[number] for number in order):
            if len(unit) <= room:
                room -= len(unit)
                chosen |= set(unit)
            elif room:
                skipped += 1
        if skipped <= ROUNDS - 1:  # the vectorised rounds settle at least so many
            assert set(result[row].nonzero().flatten().tolist()) == chosen
        assert result[row].sum() <= quota[row]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_units_are_the_same_on_a_gpu(seed: int, rate: float, words: float) -> None:
    """The numpy version for a CPU and the tensor version for a GPU choose the same tokens."""
    batch = sample_batch(4, 60, seed=seed, words=words)
    noise, quota = noise_for(batch, seed), (batch.real.sum(1) * rate).long()
    slots = max(int(60 * rate), 1)
    starts = batch.word_start & batch.real
    arguments = starts, batch.real, quota, slots, _num_draws(60, slots), noise
    on_cpu, on_gpu = unit_positions_on_cpu(*arguments), unit_positions_on_gpu(*arguments)
    assert all(torch.equal(one, other) for one, other in zip(on_cpu, on_gpu, strict=True))


def test_by_hand_whole_word() -> None:
    """`un ##believ ##able news of today`, quota 3: the long word alone, or all others."""
    starts = torch.tensor([[False, True, False, False, True, True, True]])
    real = torch.tensor([[False, True, True, True, True, True, True]])
    tokens = torch.tensor([[2, 10, 11, 12, 13, 14, 15]])
    batch = Batch(tokens, real, starts, starts, torch.tensor([0]))
    objective = build("whole_word", rate=0.5, mask_fraction=1.0, random_fraction=0.0)
    hidden = set()
    for seed in range(40):
        example = objective.corrupt(batch, VOCABULARY, Noise(seed, 0, batch.example_ids))
        assert example.positions is not None
        asked = example.labels[0] != IGNORED
        hidden.add(tuple(sorted(example.positions[0][asked].tolist())))
    assert hidden == {(1, 2, 3), (4, 5, 6)}


def test_by_hand_a_word_longer_than_the_quota_is_cut_to_tokens() -> None:
    """`un ##believ ##able news today`, quota 2: any two of the five tokens."""
    starts = torch.tensor([[False, True, False, False, True, True]])
    real = torch.tensor([[False, True, True, True, True, True]])
    tokens = torch.tensor([[2, 10, 11, 12, 13, 14]])
    batch = Batch(tokens, real, starts, starts, torch.tensor([0]))
    for name in ("whole_word", "span", "pmi"):
        objective = build(name, rate=0.4)
        hidden = set()
        for seed in range(60):
            example = objective.corrupt(batch, VOCABULARY, Noise(seed, 0, batch.example_ids))
            asked = example.labels[0] != IGNORED
            assert asked.sum() == 2
            hidden |= set(example.positions[0][asked].tolist())
        assert hidden == {1, 2, 3, 4, 5}


def test_by_hand_causal() -> None:
    tokens = torch.tensor([[2, 10, 11, 3, 12, 0]])
    real = torch.tensor([[False, True, True, False, True, False]])
    batch = Batch(tokens, real, real, real, torch.tensor([0]), attention_mask=tokens > 0)
    example = build("causal").corrupt(batch, VOCABULARY, noise_for(batch))
    assert example.inputs.tolist() == tokens.tolist()
    assert example.labels.tolist() == [[10, 11, IGNORED, 12, IGNORED, IGNORED]]
    assert example.attention.pattern == "causal"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("num_real", [0, 1])
def test_a_row_with_at_most_one_token_survives(name: str, num_real: int) -> None:
    tokens = torch.tensor([[2, 10, 3, 0, 0, 0]]) if num_real else torch.tensor([[2, 3, 0, 0, 0, 0]])
    real = tokens > 4
    batch = Batch(tokens, real, real, real, torch.tensor([5]), attention_mask=tokens > 0)
    example = build(name).corrupt(batch, VOCABULARY, noise_for(batch))
    assert example.inputs.shape == tokens.shape
    assert torch.equal(example.inputs[~real], tokens[~real])


@pytest.mark.parametrize("name", ALL)
def test_metadata_and_settings(name: str) -> None:
    cls = REGISTRY.get("objective", name)
    assert cls.name == name
    assert cls.summary
    assert cls.source
    objective: Objective = cls()
    assert from_mapping(cls, as_mapping(objective), name) == objective
    assert hash(cls()) == hash(objective)
    assert objective.display_name == name
    with pytest.raises(BenchError, match=r"did you mean|shows all"):
        from_mapping(cls, {"no_such": 1}, name)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("token", {"rate": 1.5}, "token.rate"),
        ("token", {"rate": "many"}, "token.rate"),
        ("token", {"mask_fraction": 0.8, "random_fraction": 0.3}, "must not exceed 1"),
        ("token", {"draw": "sentence"}, "token.draw"),
        ("span", {"mean_length": 9}, "too large for max_length"),
        ("span", {"mean_lenght": 3}, "mean_length"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        build(name, **values)


def test_settings_are_read_from_text_and_shown_in_the_display_name() -> None:
    assert build("span", mean_length="4") == build("span", mean_length=4.0)
    assert build("span", mean_length="4").display_name == "span[mean_length=4.0]"
