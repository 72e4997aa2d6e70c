from __future__ import annotations

import collections
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pretraining.batch import Batch
from bench.pretraining.corruption.drafts import INSERTED, Draft, choose_exactly, nearest, spread
from bench.pretraining.noise import Noise

PAD, MASK = 0, 4
B, N = True, False


def row_of(*tokens: int, length: int | None = None) -> Batch:
    """One row, padded."""
    padded = torch.tensor([[*tokens, *[PAD] * ((length or len(tokens)) - len(tokens))]])
    real = padded > MASK
    return Batch(padded, real, real, real, torch.tensor([7]), attention_mask=padded > 0)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=3))
def test_spread_repeats_each_place(copies: list[list[int]]) -> None:
    source, ordinal, filled = spread(torch.tensor(copies), 9)
    for row, counts in enumerate(copies):
        expected = [(place, copy) for place, n in enumerate(counts) for copy in range(n)][:9]
        assert filled[row].tolist() == [k < len(expected) for k in range(9)]
        result = zip(source[row].tolist(), ordinal[row].tolist(), strict=True)
        assert list(result)[: len(expected)] == expected


def test_edits_compose_and_map_bitmaps_of_the_original() -> None:
    batch = row_of(2, 10, 11, 12, 3, 13, length=8)
    draft = Draft.of(batch)
    assert draft.origins.tolist() == [[0, 1, 2, 3, 4, 5, -1, -1]]
    draft = draft.reorder(torch.tensor([[0, 3, 1, 2, 4, 5, 6, 7]]))
    assert draft.tokens.tolist() == [[2, 12, 10, 11, 3, 13, 0, 0]]
    draft = draft.drop(draft.tokens == 10, PAD)
    assert draft.tokens.tolist() == [[2, 12, 11, 3, 13, 0, 0, 0]]
    assert draft.origins.tolist() == [[0, 3, 2, 4, 5, -1, -1, -1]]
    assert draft.attention_mask.tolist() == [[B, B, B, B, B, N, N, N]]
    draft = draft.substitute(draft.tokens == 11, 99).show(draft.tokens == 13, 77)
    assert draft.tokens.tolist() == [[2, 12, 99, 3, 77, 0, 0, 0]]
    assert draft.origins.tolist() == [[0, 3, INSERTED, 4, 5, -1, -1, -1]]
    assert draft.read(batch.tokens >= 11).tolist() == [[N, B, N, N, B, N, N, N]]


def test_tokens_are_inserted_before_places() -> None:
    draft = Draft.of(row_of(2, 10, 11, length=8))
    remaining = torch.tensor([[B, N, B, B, B, B, B, B]])
    inserted = torch.tensor([[0, 0, 2, 1, 0, 0, 0, 0]])
    draft = draft.rewrite(remaining, inserted, MASK, PAD)
    assert draft.tokens.tolist() == [[2, 4, 4, 11, 4, 0, 0, 0]]
    assert draft.origins.tolist() == [[0, -1, -1, 2, -1, -1, -1, -1]]
    assert draft.attention_mask.tolist() == [[B] * 5 + [N] * 3]


def test_tokens_beyond_the_row_are_cut_off() -> None:
    draft = Draft.of(row_of(10, 11, 12))
    draft = draft.rewrite(torch.ones(1, 3) > 0, torch.tensor([[0, 1, 0]]), MASK, PAD)
    assert draft.tokens.tolist() == [[10, 4, 11]]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_exact_number_is_chosen(count: int) -> None:
    candidates = torch.tensor([[B, N, B, B, N, B]]).expand(50, -1)
    noise = Noise(1, 0, torch.arange(50))
    chosen = choose_exactly(candidates, torch.full((50,), count), noise, "any")
    assert chosen.sum(1).tolist() == [min(count, 4)] * 50
    assert not (chosen & ~candidates).any()


def test_every_set_is_equally_likely() -> None:
    rows = 12_000
    candidates = torch.tensor([[N, B, B, B, B]]).expand(rows, -1)
    chosen = choose_exactly(
        candidates, torch.full((rows,), 2), Noise(3, 0, torch.arange(rows)), "sets"
    )
    result = collections.Counter(tuple(row.nonzero().flatten().tolist()) for row in chosen)
    assert set(result) == set(itertools.combinations(range(1, 5), 2))
    expected = rows / 6
    chi_squared = sum((n - expected) ** 2 / expected for n in result.values())
    assert chi_squared < 25.7  # one in 10,000, five degrees of freedom


def test_nearest_rounds_as_in_python() -> None:
    counts = torch.arange(600)
    for rate in (0.15, 0.3, 0.5, 0.05):
        assert nearest(counts, rate).tolist() == [round(n * rate) for n in range(600)]
