"""Units longer than the quota are cut to their parts, all others are left as they are."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.pretraining.corruption.units import cut_units

FLAGS = st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=14)


def by_hand(starts: list[bool], parts: list[bool], real: list[bool], quota: int) -> list[bool]:
    """One unit after the other; tokens before the first unit belong to none."""
    length = len(starts)
    edges = [i for i in range(length) if starts[i] or not real[i]]
    result = list(starts)
    for begin, end in itertools.pairwise([*edges, length]):
        if sum(real[begin:end]) > quota:
            for i in range(begin, end):
                result[i] |= parts[i] and real[i]
    return result


@given(rows=st.lists(FLAGS, min_size=1, max_size=3), quotas=st.lists(st.integers(0, 8), min_size=3))
def test_units_are_cut_as_by_hand(rows: list[list[tuple[bool, ...]]], quotas: list[int]) -> None:
    """Rows that all fit, and so take the short way on a CPU, are among them."""
    length = min(map(len, rows))
    columns = [list(zip(*row[:length], strict=True)) for row in rows]
    starts, parts, real = (torch.tensor([c[i] for c in columns]) for i in range(3))
    starts = starts & real
    quota = torch.tensor(quotas[: len(rows)])
    cut = cut_units(starts, real, quota, parts)
    expected = [
        by_hand(s.tolist(), p.tolist(), r.tolist(), int(q))
        for s, p, r, q in zip(starts, parts, real, quota, strict=True)
    ]
    assert cut.tolist() == expected


def test_a_collocation_is_cut_to_words_and_a_long_word_to_tokens() -> None:
    """Six tokens: a collocation of a word of four tokens and one of two; the quota is three."""
    real = torch.ones(1, 6, dtype=torch.bool)
    units = torch.tensor([[True, False, False, False, False, False]])
    words = torch.tensor([[True, False, False, False, True, False]])
    cut = cut_units(units, real, torch.tensor([3]), words, real)
    assert cut.tolist() == [[True, True, True, True, True, False]]
