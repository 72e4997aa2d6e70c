from __future__ import annotations

import collections
import dataclasses
import math

import pytest
import torch

from bench.pretraining.corruption.edits import hide_words, movable, place_spans, poisson
from bench.pretraining.noise import Noise
from bench.testing import SAMPLE_VOCABULARY as VOCABULARY
from bench.testing import sample_batch


@pytest.mark.parametrize("mean", [1.0, 3.0, 12.0])
def test_lengths_are_poisson(mean: float) -> None:
    draws = Noise(0, 0, torch.arange(400)).uniform("lengths", (400, 250))
    lengths = poisson(draws, mean)
    num = lengths.numel()
    assert abs(lengths.double().mean().item() - mean) < 4 * (mean / num) ** 0.5
    assert abs(lengths.double().var().item() - mean) < 0.04 * mean
    for k in range(6):
        chance = math.exp(-mean) * mean**k / math.factorial(k)
        share = (lengths == k).double().mean().item()
        assert abs(share - chance) < 4.5 * (chance * (1 - chance) / num) ** 0.5 + 1e-9


def placed(
    rows: int, words: int, quota: int, mean: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    starts = torch.ones(rows, words, dtype=torch.bool)
    quotas = torch.full((rows,), quota)
    noise = Noise(seed, 0, torch.arange(rows))
    first, size, is_span = place_spans(starts, quotas, quota, mean, noise)
    return first, size, is_span


@pytest.mark.parametrize(("words", "quota"), [(60, 18), (60, 60), (7, 2), (500, 150), (5, 0)])
def test_spans_cover_the_quota_exactly_without_overlaps(words: int, quota: int) -> None:
    first, size, is_span = placed(50, words, quota, 3.0)
    for row in range(50):
        covered: list[int] = []
        for place, length in zip(first[row][is_span[row]], size[row][is_span[row]], strict=True):
            covered += range(int(place), int(place + length))
        assert len(covered) == len(set(covered)) == quota
        assert all(0 <= word < words for word in covered)


def test_spans_are_as_long_as_drawn_and_some_are_empty() -> None:
    """Of many spans only the last is cut, so the shares are those of the Poisson distribution."""
    _, size, is_span = placed(60, 2_000, 600, 3.0)
    lengths = size[is_span]
    assert abs(lengths.double().mean().item() - 3.0) < 0.06
    assert abs((lengths == 0).double().mean().item() - math.exp(-3)) < 0.01
    assert abs((lengths == 3).double().mean().item() - 0.224) < 0.015


def test_every_word_is_hidden_equally_often() -> None:
    rows = 6_000
    starts = torch.ones(rows, 25, dtype=torch.bool)
    starts[:, 20:] = False
    noise = Noise(0, 0, torch.arange(rows))
    is_hidden, begins, masks = hide_words(starts, torch.full((rows,), 6), 8, 3.0, noise)
    share = is_hidden[:, :20].double().mean(0)
    assert (share - 0.3).abs().max() < 4.5 * (0.3 * 0.7 / rows) ** 0.5
    assert not (begins & ~is_hidden)[:, :20].any()
    put_in = masks[:, :20].double().mean(0)
    assert (put_in - put_in.mean()).abs().max() < 4.5 * (put_in.mean() / rows) ** 0.5


def test_orders_of_spans_and_words_are_equally_likely() -> None:
    """Quota 2 of 4 words, spans of about 30 words: one span of two, in three places."""
    rows = 3_000
    first, size, is_span = placed(rows, 4, 2, 30.0)
    places = collections.Counter(first[is_span & (size > 0)].tolist())
    assert sorted(places) == [0, 1, 2]
    assert sum((n - 1000) ** 2 / 1000 for n in places.values()) < 18.4  # one in 10,000


def test_movable_excludes_borders() -> None:
    batch = sample_batch(8, 40)
    tokens = batch.tokens.clone()
    tokens[:, 5] = VOCABULARY.unk_id
    batch = dataclasses.replace(batch, tokens=tokens, real=~VOCABULARY.is_special(tokens))
    result = movable(batch, VOCABULARY)
    assert result[:, 5].all()
    one_for_all = dataclasses.replace(VOCABULARY, unk_id=VOCABULARY.sep_id)
    assert torch.equal(movable(batch, one_for_all), batch.real)
    assert not result[:, 0].any()
