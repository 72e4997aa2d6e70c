"""The state of each token: an `Example` compared with the batch it was made from.

The trace uses the tensors alone, so it works for the objectives of plugins too. No tensor says
which token of the text a label is. The trace infers this for each row: the label is the token at
its own position, or the token to the right of it (next-token prediction), whichever agrees with
more labels of the row. If some labels agree with neither, they are compared with the tokens missing
from the input, in order (span infilling).
"""

from __future__ import annotations

import bisect
import dataclasses
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from bench.pretraining.batch import IGNORED

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Attention, Batch, Example


class State(IntEnum):
    """The state of a token of the text in an example."""

    PLAIN = 0
    HIDDEN = 1
    """The input has the mask in its place."""
    REPLACED = 2
    """The input has another token in its place."""
    KEPT = 3
    """It is predicted, and the prediction can attend to it."""
    AHEAD = 4
    """It is predicted from its left: the input has it, but the prediction cannot attend to it."""
    REMOVED = 5
    """The input has nothing in its place."""


CORRUPTED = (State.HIDDEN, State.REPLACED, State.REMOVED)


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Rows of text and their examples.

    B rows, L positions of the text, M positions of the input, K labels.
    """

    tokens: Int[np.ndarray, "B L"]
    real: Bool[np.ndarray, "B L"]
    attention_mask: Bool[np.ndarray, "B L"]
    word_start: Bool[np.ndarray, "B L"]
    inputs: Int[np.ndarray, "B M"]
    inputs_attention_mask: Bool[np.ndarray, "B M"]
    origins: Int[np.ndarray, "B M"]
    """The position in the text of each input, -1 if it has none."""
    labels: Int[np.ndarray, "B K"]
    read_at: Int[np.ndarray, "B K"] | None
    """The input position of each prediction. None if a decoder generates the labels."""
    targets: Int[np.ndarray, "B K"]
    """The position in the text of each label's token, -1 if it has none."""
    state: Int[np.ndarray, "B L"]
    predicted: Bool[np.ndarray, "B L"]
    moved: Bool[np.ndarray, "B L"]
    attention: Attention

    @property
    def predicts_all(self) -> Bool[np.ndarray, " B"]:
        """Rows of which every ordinary token is predicted, so prediction distinguishes no token."""
        is_all: np.ndarray = (self.predicted | ~self.real).all(1) & self.real.any(1)
        return is_all

    @property
    def corrupted(self) -> Bool[np.ndarray, "B L"]:
        """Ordinary tokens that are hidden, replaced or removed."""
        is_corrupted: np.ndarray = np.isin(self.state, CORRUPTED) & self.real
        return is_corrupted

    @property
    def chosen(self) -> Bool[np.ndarray, "B L"]:
        """Ordinary tokens that the objective chose: corrupted, or predicted and kept."""
        is_kept = (self.state == State.KEPT) & ~self.predicts_all[:, None]
        is_chosen: np.ndarray = self.corrupted | (is_kept & self.real)
        return is_chosen

    @property
    def inserted(self) -> Bool[np.ndarray, "B M"]:
        """Inputs without a position in the text."""
        is_inserted: np.ndarray = (self.origins < 0) & self.inputs_attention_mask
        return is_inserted


def trace(batch: Batch, example: Example, vocabulary: Vocabulary) -> Trace:
    """Compare an example with its batch."""
    tokens, real = batch.tokens.numpy(), batch.real.numpy()
    inputs, labels = example.inputs.numpy(), example.labels.numpy()
    attention_mask = _mask_of(batch.attention_mask, tokens)
    inputs_attention_mask = _mask_of(example.attention.attention_mask, inputs)
    origins = np.broadcast_to(np.arange(inputs.shape[1]), inputs.shape)
    if example.origins is not None:
        origins = example.origins.numpy()
    origins = np.where(inputs_attention_mask, origins, -1)
    input_at = _inverse(origins, tokens.shape[1])
    removed = (input_at < 0) & attention_mask
    read_at = _read_at(example, labels, inputs)
    is_ordinary = (labels >= 0) & (labels < vocabulary.size)
    is_ordinary &= ~np.isin(labels, vocabulary.special_ids)
    targets = _targets(tokens, labels, origins, example, removed, is_ordinary)
    predicted, visible = _predictions(targets, input_at, read_at, example.attention)
    shown = np.take_along_axis(inputs, input_at.clip(0), 1)
    is_same = shown == tokens
    is_mask = shown == vocabulary.mask_id
    states = {
        State.PLAIN: ~attention_mask,
        State.REMOVED: removed,
        State.HIDDEN: ~is_same & is_mask,
        State.REPLACED: ~is_same,
        State.KEPT: predicted & real & visible,
        State.AHEAD: predicted & real,
    }
    return Trace(
        tokens=tokens,
        real=real,
        attention_mask=attention_mask,
        word_start=batch.word_start.numpy(),
        inputs=inputs,
        inputs_attention_mask=inputs_attention_mask,
        origins=origins,
        labels=labels,
        read_at=read_at,
        targets=targets,
        state=np.select([*states.values()], [*states], State.PLAIN),  # the first that applies
        predicted=predicted & real,
        moved=_moved(origins, real),
        attention=example.attention,
    )


def _mask_of(mask: Tensor | None, tokens: np.ndarray) -> np.ndarray:
    return np.ones(tokens.shape, dtype=bool) if mask is None else mask.numpy()


def _inverse(origins: np.ndarray, length: int) -> np.ndarray:
    """The input position of each position of the text, -1 if the input does not have it."""
    rows, width = origins.shape
    input_at = np.full((rows, length + 1), -1)
    at = np.broadcast_to(np.arange(width), origins.shape)
    np.put_along_axis(input_at, np.where(origins < 0, length, origins), at, 1)
    return input_at[:, :length]


def _read_at(example: Example, labels: np.ndarray, inputs: np.ndarray) -> np.ndarray | None:
    if example.positions is not None:
        return example.positions.numpy()
    if example.origins is not None or labels.shape != inputs.shape:
        return None
    return np.broadcast_to(np.arange(labels.shape[1]), labels.shape)


def _targets(
    tokens: np.ndarray,
    labels: np.ndarray,
    origins: np.ndarray,
    example: Example,
    removed: np.ndarray,
    is_ordinary: np.ndarray,
) -> np.ndarray:
    """The position in the text of each label's token, -1 if it is unknown."""
    length = tokens.shape[1]
    place = np.broadcast_to(np.arange(labels.shape[1]), labels.shape)
    if example.positions is not None:
        place = np.take_along_axis(origins, example.positions.numpy(), 1)
    is_label = labels != IGNORED
    matches = []
    for at in (place, place + 1):
        inside = is_label & (place >= 0) & (at < length)
        agrees = inside & (np.take_along_axis(tokens, at.clip(0, length - 1), 1) == labels)
        matches.append((np.where(agrees, at, -1), agrees.sum(1)))
    (here, num_here), (right, num_right) = matches
    # A row of repeated words can agree with both. Then the other rows decide.
    margin = (num_right - num_here) + 0.5 * np.sign((num_right - num_here).sum())
    targets = np.where(margin[:, None] > 0, right, here)
    for row in np.flatnonzero((targets >= 0).sum(1) < is_label.sum(1)):
        ordinary = labels[row][is_ordinary[row]]
        missing = np.flatnonzero(removed[row])
        if np.array_equal(ordinary, tokens[row][missing]):
            targets[row] = -1
            targets[row, is_ordinary[row]] = missing
    return targets


def _predictions(
    targets: np.ndarray, input_at: np.ndarray, read_at: np.ndarray | None, attention: Attention
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each token of the text is predicted, and whether that prediction can attend to it."""
    rows, length = input_at.shape
    is_visible = np.ones(targets.shape, dtype=bool)
    if read_at is not None and attention.pattern != "full":
        target_at = np.take_along_axis(input_at, targets.clip(0), 1)
        is_visible = target_at <= read_at
        if attention.prefix_lengths is not None:
            is_visible |= target_at < attention.prefix_lengths.numpy()[:, None]
    slots = np.where(targets < 0, length, targets)
    flags = []
    for value in (np.ones_like(is_visible), is_visible):
        flag = np.zeros((rows, length + 1), dtype=bool)
        np.put_along_axis(flag, np.where(value, slots, length), True, 1)
        flags.append(flag[:, :length])
    return flags[0], flags[1]


def _moved(origins: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The smallest set of tokens without which the others are in their original order."""
    moved = np.zeros(real.shape, dtype=bool)
    running = np.maximum.accumulate(origins, 1)
    for row in np.flatnonzero(((origins >= 0) & (origins < running)).any(1)):
        order = origins[row][origins[row] >= 0]
        order = order[real[row][order]]
        moved[row, order] = True
        moved[row, _longest_rise(order.tolist())] = False
    return moved


def _longest_rise(values: list[int]) -> list[int]:
    """The longest increasing subsequence of distinct numbers (Schensted 1961)."""
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for value in values:
        at = bisect.bisect_left(ends, value)
        before[value] = ends[at - 1] if at else None
        ends[at : at + 1] = [value]
    rise: list[int] = []
    last = ends[-1] if ends else None
    while last is not None:
        rise.append(last)
        last = before[last]
    return rise
