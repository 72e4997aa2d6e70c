from __future__ import annotations

import numpy as np
import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.showing.trace import State, Trace, trace
from bench.testing.samples import SAMPLE_VOCABULARY

MASK, CLS, SEP = (getattr(SAMPLE_VOCABULARY, f"{role}_id") for role in ("mask", "cls", "sep"))
EXTRA = SAMPLE_VOCABULARY.size


def held(
    inputs: list[int],
    labels: list[int],
    positions: list[int] | None = None,
    origins: list[int] | None = None,
    attention: Attention | None = None,
    words: int = 6,
) -> Trace:
    """What became of [CLS] 10 11 12 ... [SEP], one token a word."""
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


def states(found: Trace) -> str:
    """P(lain), H(idden), R(eplaced), K(ept), A(head), and - for removed."""
    return "".join("PHRKA-"[state] for state in found.state[0])


def test_a_masked_row_has_hidden_replaced_and_kept_tokens() -> None:
    found = held(
        [CLS, 10, MASK, 99, 13, 14, 15, SEP], [11, 12, 13, IGNORED], positions=[2, 3, 4, 0]
    )
    assert states(found) == "PPHRKPPP"
    assert found.targets[0].tolist() == [2, 3, 4, -1]
    assert np.flatnonzero(found.chosen[0]).tolist() == [2, 3, 4]
    assert np.flatnonzero(found.corrupted[0]).tolist() == [2, 3]


def test_next_tokens_are_ahead_and_not_kept() -> None:
    labels = [10, 11, 12, 13, 14, 15, IGNORED, IGNORED]
    found = held([CLS, *range(10, 16), SEP], labels, attention=Attention("causal"))
    assert states(found) == "PAAAAAAP"
    assert found.asks_all.all()
    assert not found.chosen.any()


def test_a_prefix_shows_what_stands_in_it() -> None:
    """The same labels, once within the prefix (seen: kept) and once beyond it."""
    row, labels = [CLS, *range(10, 16), SEP], [11, 14]
    for prefix, expected in ((0, "PPAPPAPP"), (3, "PPKPPAPP"), (8, "PPKPPKPP")):
        attention = Attention("prefix", prefix_lengths=torch.tensor([prefix]))
        found = held(row, labels, positions=[1, 4], attention=attention)
        assert states(found) == expected


def test_a_hidden_token_may_be_read_one_to_the_left() -> None:
    found = held([CLS, 10, MASK, 12, 13, 14, 77, SEP], [11, 15], positions=[1, 5])
    assert states(found) == "PPHPPPRP"
    assert found.targets[0].tolist() == [2, 6]


def test_sentinels_stand_for_spans_that_are_written_elsewhere() -> None:
    found = held(
        [CLS, 10, EXTRA, 13, EXTRA + 1, SEP, 0, 0],
        [EXTRA, 11, 12, EXTRA + 1, 14, 15, SEP, IGNORED, IGNORED],
        origins=[0, 1, -1, 4, -1, 7, -1, -1],
        attention=Attention(attention_mask=torch.arange(8)[None] < 6),
    )
    assert states(found) == "PP--P--P"
    assert found.read_at is None
    assert found.targets[0].tolist() == [-1, 2, 3, -1, 5, 6, -1, -1, -1]
    assert np.flatnonzero(found.predicted[0]).tolist() == [2, 3, 5, 6]
    assert np.flatnonzero(found.inserted[0]).tolist() == [2, 4]
    assert not found.moved.any()


def test_a_moved_sentence_is_the_fewest_tokens_that_explain_the_order() -> None:
    """14 15 stood last and now stands first; 12 is deleted, 99 is inserted."""
    found = held(
        [CLS, 14, 15, 10, 11, 99, 13, SEP],
        [CLS, *range(10, 16), SEP],
        origins=[0, 5, 6, 1, 2, -1, 4, 7],
    )
    assert np.flatnonzero(found.moved[0]).tolist() == [5, 6]
    assert found.state[0, 3] == State.REMOVED
    assert found.asks_all.all()
    assert np.flatnonzero(found.corrupted[0]).tolist() == [3]


def test_padding_is_neither_removed_nor_predicted() -> None:
    tokens = torch.tensor([[CLS, 10, 11, SEP], [CLS, 10, SEP, 0]])
    real, attention_mask = tokens >= 10, tokens != 0
    batch = Batch(tokens, real, real, real, torch.arange(2), attention_mask)
    example = Example(
        tokens, Attention(attention_mask=attention_mask), torch.full_like(tokens, IGNORED)
    )
    found = trace(batch, example, SAMPLE_VOCABULARY)
    assert not found.state.any()
    assert not found.inserted.any()
    assert not found.asks_all.any()
