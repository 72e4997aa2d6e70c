from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.pretraining.batch import Batch
from bench.pretraining.corruption import collocations as module
from bench.pretraining.corruption.collocations import Words, collocations, count_runs, joined_words
from bench.testing import sample_batch

Run = tuple[tuple[int, ...], ...]
"""Words, each the tuple of its tokens."""


def sentences(batch: Batch, row: int) -> list[list[list[int]]]:
    """The positions of a row: sentences of words of tokens, one at a time."""
    result: list[list[list[int]]] = [[]]
    for at in range(batch.tokens.shape[1]):
        if not batch.real[row, at] or batch.sentence_start[row, at]:
            result.append([])
        if batch.real[row, at]:
            if batch.word_start[row, at]:
                result[-1].append([])
            result[-1][-1].append(at)
    return [sentence for sentence in result if sentence]


def runs_of(batch: Batch, longest: int = 5) -> collections.Counter[Run]:
    counts: collections.Counter[Run] = collections.Counter()
    for row in range(len(batch.tokens)):
        for sentence in sentences(batch, row):
            words = [tuple(batch.tokens[row, word].tolist()) for word in sentence]
            for n in range(1, longest + 1):
                counts.update(tuple(words[k : k + n]) for k in range(len(words) - n + 1))
    return counts


def score(run: Run, counts: collections.Counter[Run], totals: dict[int, int]) -> float:
    """The definition, over every segmentation."""

    def nats(part: Run) -> float:
        return math.log(counts[part] / totals[len(part)])

    cuts = range(1, len(run))
    segmentations = (
        [run[a:b] for a, b in itertools.pairwise((0, *chosen, len(run)))]
        for size in range(1, len(run))
        for chosen in itertools.combinations(cuts, size)
    )
    return nats(run) - max(sum(map(nats, parts)) for parts in segmentations)


def few_words(seed: int, rows: int = 24, length: int = 40) -> Batch:
    """Rows over a vocabulary small enough for runs to repeat."""
    batch = sample_batch(rows, length, seed=seed)
    return dataclasses.replace(
        batch, tokens=torch.where(batch.real, 5 + batch.tokens % 4, batch.tokens)
    )


def hashes_of(runs: Iterable[Run]) -> dict[Run, int]:
    """Hashes from the same code, with each run in a separate row."""
    listed = list(runs)
    width = 1 + max(sum(map(len, run)) for run in listed)
    tokens = torch.zeros(len(listed), width, dtype=torch.long)
    starts = torch.zeros(len(listed), width, dtype=torch.bool)
    for row, run in enumerate(listed):
        at = 1
        for word in run:
            starts[row, at] = True
            tokens[row, at : at + len(word)] = torch.tensor(word)
            at += len(word)
    batch = Batch(tokens, tokens > 4, starts, torch.zeros_like(starts), torch.arange(len(listed)))
    result = Words.of(batch).runs
    return {run: int(result[len(run) - 1][0][row, 0]) for row, run in enumerate(listed)}


def test_runs_are_counted_as_one_by_one() -> None:
    batch = few_words(0)
    expected = runs_of(batch)
    hashes = hashes_of(expected)
    tables, totals = count_runs([batch])
    for n, table in enumerate(tables, start=1):
        by_hash = {hashes[run]: count for run, count in expected.items() if len(run) == n}
        assert dict(zip(table.hashes.tolist(), table.counts.tolist(), strict=True)) == by_hash
        assert totals[n - 1] == sum(by_hash.values())
        assert table.hashes.tolist() == sorted(by_hash)


def test_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RUNS", 1 << 12)  # tables are merged, no run is dropped
    batch = few_words(1, rows=60)
    parts = [
        Batch(*(field[low : low + 5] for field in list(vars(batch).values())[:5]))
        for low in range(0, 60, 5)
    ]
    whole, parted = count_runs([batch]), count_runs(parts)
    assert whole[1] == parted[1]
    for one, other in zip(whole[0], parted[0], strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
        )


@pytest.mark.parametrize("size", [16, 400])
def test_collocations_are_those_of_the_definition(size: int) -> None:
    batch = few_words(2)
    counts = runs_of(batch)
    totals = {n: sum(c for run, c in counts.items() if len(run) == n) for n in range(1, 6)}
    hashes = hashes_of(counts)
    expected: set[int] = set()
    for n, share in ((2, 0.5), (3, 0.25), (4, 0.125), (5, 0.125)):
        scores = {
            hashes[run]: score(run, counts, totals)
            for run, count in counts.items()
            if len(run) == n and count >= 3
        }
        ranked = sorted(scores, key=lambda h: (-round(scores[h], 9), h))[: int(size * share)]
        expected |= {h for h in ranked if scores[h] > 1e-9}
        edge = sorted(scores.values(), reverse=True)
        if len(edge) > int(size * share):  # a tie at the edge would make the result arbitrary
            assert edge[int(size * share) - 1] - edge[int(size * share)] > 1e-9 or size == 400
    assert expected
    assert collocations([batch], size, 3).tolist() == sorted(expected)


def test_memory_is_bounded_and_common_runs_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RUNS", 64)
    batches = [few_words(seed, rows=8) for seed in range(6)]
    tables, _ = count_runs(batches)
    counts = sum((runs_of(batch) for batch in batches), collections.Counter[Run]())
    assert max(len(table.hashes) for table in tables) < 64 + 3 * 8 * 40
    common = [run for run, count in counts.most_common() if len(run) == 2][:5]
    assert set(hashes_of(common).values()) <= set(tables[1].hashes.tolist())
    collocations(batches, 100, 3)  # dropped parts are no error


def slow_units(batch: Batch, row: int, hashes: dict[Run, int], table: set[int]) -> list[int]:
    """First positions of units: the longest collocations first, each from left to right."""
    starts: list[int] = []
    for sentence in sentences(batch, row):
        words = [tuple(batch.tokens[row, word].tolist()) for word in sentence]
        owner: list[int | None] = [None] * len(words)
        for n in range(5, 1, -1):
            for k in range(len(words) - n + 1):
                is_free = all(one is None for one in owner[k : k + n])
                if is_free and hashes[tuple(words[k : k + n])] in table:
                    owner[k : k + n] = [k] * n
        starts += [word[0] for k, word in enumerate(sentence) if owner[k] is None or owner[k] == k]
    return starts


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.integers(8, 400))
def test_units_are_those_of_a_slow_loop(seed: int, size: int) -> None:
    batch = few_words(seed, rows=3, length=30)
    table = collocations([few_words(seed)], size, 3)
    result = joined_words(batch, table)
    hashes = hashes_of(runs_of(batch))
    for row in range(3):
        expected = slow_units(batch, row, hashes, set(table.tolist()))
        assert result[row].nonzero()[:, 0].tolist() == expected


def test_the_leftmost_of_overlapping_matches_is_selected() -> None:
    def taken(matches: list[int], n: int, length: int = 14) -> Tensor:
        marked = torch.zeros(1, length, dtype=torch.bool)
        marked[0, matches] = True
        return module._leftmost(marked, n)[0].nonzero()[:, 0].tolist()

    assert taken([0, 1, 2, 3, 4], 2) == [0, 2, 4]
    assert taken([1, 3, 5, 6], 3) == [1, 5]
    assert taken([], 5) == []
    assert taken([13], 2) == [13]
    assert taken(list(range(14)), 5) == [0, 5, 10]


def test_no_collocations_are_no_error() -> None:
    assert collocations([], 10, 1).tolist() == []
    batch = sample_batch(2, 8)
    blank = dataclasses.replace(batch, real=torch.zeros_like(batch.real))
    assert collocations([blank], 10, 1).tolist() == []
    assert torch.equal(
        joined_words(batch, torch.empty(0, dtype=torch.long)), batch.word_start & batch.real
    )
