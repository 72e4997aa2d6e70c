from __future__ import annotations

import numpy as np
import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.showing.trace import State, Trace, trace
from bench.testing.samples import SAMPLE_VOCABULARY

MASK, CLS, SEP = (getattr(SAMPLE_VOCABULARY, f"{role}_id") for role in ("mask", "cls", "sep"))
EXTRA = SAMPLE_VOCABULARY.size


def make_trace(
    inputs: list[int],
    labels: list[int],
    positions: list[int] | None = None,
    origins: list[int] | None = None,
    attention: Attention | None = None,
    words: int = 6,
) -> Trace:
    """The trace of [CLS] 10 11 12 ... [SEP], where each token is a word."""
    tokens = torch.tensor([[CLS, *range(10, 10 + words), SEP]])
    real = tokens >= 10
    batch = Batch(tokens, real, real, real & (tokens == 10), torch.zeros(1, dtype=torch.long))
    example = Example(
        torch.tensor([inputs]),
        attention or Attention(),
        torch.tensor([labels]),
        None if positions is None else torch.tensor([positions]),
        None if origins is None else torch.tensor([origins]),
    )
    return trace(batch, example, SAMPLE_VOCABULARY)


def states(result: Trace) -> str:
    """P is plain, H hidden, R replaced, K kept, A ahead, and - removed."""
    return "".join("PHRKA-"[state] for state in result.state[0])


def test_a_masked_row_has_hidden_replaced_and_kept_tokens() -> None:
    result = make_trace(
        [CLS, 10, MASK, 99, 13, 14, 15, SEP], [11, 12, 13, IGNORED], positions=[2, 3, 4, 0]
    )
    assert states(result) == "PPHRKPPP"
    assert result.targets[0].tolist() == [2, 3, 4, -1]
    assert np.flatnonzero(result.chosen[0]).tolist() == [2, 3, 4]
    assert np.flatnonzero(result.corrupted[0]).tolist() == [2, 3]


def test_next_tokens_are_ahead_and_not_kept() -> None:
    labels = [10, 11, 12, 13, 14, 15, IGNORED, IGNORED]
    result = make_trace([CLS, *range(10, 16), SEP], labels, attention=Attention("causal"))
    assert states(result) == "PAAAAAAP"
    assert result.predicts_all.all()
    assert not result.chosen.any()


def test_tokens_in_the_prefix_are_kept_and_others_are_ahead() -> None:
    """The same labels, inside the prefix (visible, so kept) and after it."""
    row, labels = [CLS, *range(10, 16), SEP], [11, 14]
    for prefix, expected in ((0, "PPAPPAPP"), (3, "PPKPPAPP"), (8, "PPKPPKPP")):
        attention = Attention("prefix", prefix_lengths=torch.tensor([prefix]))
        result = make_trace(row, labels, positions=[1, 4], attention=attention)
        assert states(result) == expected


def test_a_hidden_token_may_be_predicted_from_its_left() -> None:
    result = make_trace([CLS, 10, MASK, 12, 13, 14, 77, SEP], [11, 15], positions=[1, 5])
    assert states(result) == "PPHPPPRP"
    assert result.targets[0].tolist() == [2, 6]


def test_labels_of_removed_spans_are_found_behind_sentinels() -> None:
    result = make_trace(
        [CLS, 10, EXTRA, 13, EXTRA + 1, SEP, 0, 0],
        [EXTRA, 11, 12, EXTRA + 1, 14, 15, SEP, IGNORED, IGNORED],
        origins=[0, 1, -1, 4, -1, 7, -1, -1],
        attention=Attention(attention_mask=torch.arange(8)[None] < 6),
    )
    assert states(result) == "PP--P--P"
    assert result.read_at is None
    assert result.targets[0].tolist() == [-1, 2, 3, -1, 5, 6, -1, -1, -1]
    assert np.flatnonzero(result.predicted[0]).tolist() == [2, 3, 5, 6]
    assert np.flatnonzero(result.inserted[0]).tolist() == [2, 4]
    assert not result.moved.any()


def test_the_moved_tokens_are_the_smallest_set() -> None:
    """14 15 moved from the end to the start, 12 is deleted, and 99 is inserted."""
    result = make_trace(
        [CLS, 14, 15, 10, 11, 99, 13, SEP],
        [CLS, *range(10, 16), SEP],
        origins=[0, 5, 6, 1, 2, -1, 4, 7],
    )
    assert np.flatnonzero(result.moved[0]).tolist() == [5, 6]
    assert result.state[0, 3] == State.REMOVED
    assert result.predicts_all.all()
    assert np.flatnonzero(result.corrupted[0]).tolist() == [3]


def test_padding_is_neither_removed_nor_predicted() -> None:
    tokens = torch.tensor([[CLS, 10, 11, SEP], [CLS, 10, SEP, 0]])
    real, attention_mask = tokens >= 10, tokens != 0
    batch = Batch(tokens, real, real, real, torch.arange(2), attention_mask)
    example = Example(
        tokens, Attention(attention_mask=attention_mask), torch.full_like(tokens, IGNORED)
    )
    result = trace(batch, example, SAMPLE_VOCABULARY)
    assert not result.state.any()
    assert not result.inserted.any()
    assert not result.predicts_all.any()
