"""What became of each token: an `Example` held against the batch it was made of.

Read off the tensors alone, so that a stranger's objective is shown as ours are. Which token a label
asks for is nowhere written down; it is inferred, a row at a time: the token it is read at, or the
one to the right of it (next-token prediction), whichever agrees with more of the row's labels; and
where neither does, the tokens that are missing from the input, in order (span infilling).
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
    """What happened to a token of the text."""

    PLAIN = 0
    HIDDEN = 1
    """The mask stands in its place."""
    REPLACED = 2
    """Another token stands in its place."""
    KEPT = 3
    """Predicted, and there to be seen."""
    AHEAD = 4
    """Predicted from its left: it is there, and attention does not reach it."""
    REMOVED = 5
    """It stands nowhere."""


CORRUPTED = (State.HIDDEN, State.REPLACED, State.REMOVED)


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Rows of text and what an objective made of them. B rows, L positions, M of the input."""

    tokens: Int[np.ndarray, "B L"]
    real: Bool[np.ndarray, "B L"]
    attention_mask: Bool[np.ndarray, "B L"]
    word_start: Bool[np.ndarray, "B L"]
    inputs: Int[np.ndarray, "B M"]
    inputs_attention_mask: Bool[np.ndarray, "B M"]
    origins: Int[np.ndarray, "B M"]
    """The position of the text that each input stands at, -1 where none."""
    labels: Int[np.ndarray, "B K"]
    read_at: Int[np.ndarray, "B K"] | None
    """The input each label is read at; None: the labels are a sequence that a decoder writes."""
    targets: Int[np.ndarray, "B K"]
    """The position of the text that each label asks for, -1 where none."""
    state: Int[np.ndarray, "B L"]
    predicted: Bool[np.ndarray, "B L"]
    moved: Bool[np.ndarray, "B L"]
    attention: Attention

    @property
    def asks_all(self) -> Bool[np.ndarray, " B"]:
        """Rows of which every ordinary token is predicted: being predicted marks none of them."""
        found: np.ndarray = (self.predicted | ~self.real).all(1) & self.real.any(1)
        return found

    @property
    def corrupted(self) -> Bool[np.ndarray, "B L"]:
        """Tokens that are shown otherwise than they were, or not at all."""
        found: np.ndarray = np.isin(self.state, CORRUPTED) & self.real
        return found

    @property
    def chosen(self) -> Bool[np.ndarray, "B L"]:
        """What the objective picked out: corrupted, or predicted though it can be seen."""
        kept = (self.state == State.KEPT) & ~self.asks_all[:, None]
        found: np.ndarray = self.corrupted | (kept & self.real)
        return found

    @property
    def inserted(self) -> Bool[np.ndarray, "B M"]:
        """Inputs that stand for no token of the text."""
        found: np.ndarray = (self.origins < 0) & self.inputs_attention_mask
        return found


def trace(batch: Batch, example: Example, vocabulary: Vocabulary) -> Trace:
    """Hold an example against its batch."""
    tokens, real = batch.tokens.numpy(), batch.real.numpy()
    inputs, labels = example.inputs.numpy(), example.labels.numpy()
    attention_mask = _mask_of(batch.attention_mask, tokens)
    inputs_attention_mask = _mask_of(example.attention.attention_mask, inputs)
    origins = np.broadcast_to(np.arange(inputs.shape[1]), inputs.shape)
    if example.origins is not None:
        origins = example.origins.numpy()
    origins = np.where(inputs_attention_mask, origins, -1)
    shown_at = _inverse(origins, tokens.shape[1])
    removed = (shown_at < 0) & attention_mask
    read_at = _read_at(example, labels, inputs)
    is_ordinary = (labels >= 0) & (labels < vocabulary.size)
    is_ordinary &= ~np.isin(labels, vocabulary.special_ids)
    targets = _targets(tokens, labels, origins, example, removed, is_ordinary)
    predicted, seen = _asked(targets, shown_at, read_at, example.attention)
    shown = np.take_along_axis(inputs, shown_at.clip(0), 1)
    same = shown == tokens
    state = np.select(
        [~attention_mask, removed, ~same & (shown == vocabulary.mask_id), ~same, predicted & real & seen,
         predicted & real],
        [State.PLAIN, State.REMOVED, State.HIDDEN, State.REPLACED, State.KEPT, State.AHEAD],
        State.PLAIN,
    )  # fmt: skip
    return Trace(
        tokens=tokens, real=real, attention_mask=attention_mask, word_start=batch.word_start.numpy(),
        inputs=inputs, inputs_attention_mask=inputs_attention_mask, origins=origins,
        labels=labels, read_at=read_at, targets=targets,
        state=state, predicted=predicted & real, moved=_moved(origins, real),
        attention=example.attention,
    )  # fmt: skip


def _mask_of(given: Tensor | None, tokens: np.ndarray) -> np.ndarray:
    return np.ones(tokens.shape, dtype=bool) if given is None else given.numpy()


def _inverse(origins: np.ndarray, length: int) -> np.ndarray:
    """Where each position of the text stands in the input, -1 where nowhere."""
    rows, width = origins.shape
    found = np.full((rows, length + 1), -1)
    at = np.broadcast_to(np.arange(width), origins.shape)
    np.put_along_axis(found, np.where(origins < 0, length, origins), at, 1)
    return found[:, :length]


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
    """The position of the text that each label asks for, -1 where that cannot be told."""
    length = tokens.shape[1]
    place = np.broadcast_to(np.arange(labels.shape[1]), labels.shape)
    if example.positions is not None:
        place = np.take_along_axis(origins, example.positions.numpy(), 1)
    asked = labels != IGNORED
    found = []
    for at in (place, place + 1):
        inside = asked & (place >= 0) & (at < length)
        agrees = inside & (np.take_along_axis(tokens, at.clip(0, length - 1), 1) == labels)
        found.append((np.where(agrees, at, -1), agrees.sum(1)))
    (here, in_place), (right, to_the_right) = found
    # A row of repeated words may agree with both: then the other rows decide.
    margin = (to_the_right - in_place) + 0.5 * np.sign((to_the_right - in_place).sum())
    targets = np.where(margin[:, None] > 0, right, here)
    for row in np.flatnonzero((targets >= 0).sum(1) < asked.sum(1)):
        wanted = labels[row][is_ordinary[row]]
        missing = np.flatnonzero(removed[row])
        if np.array_equal(wanted, tokens[row][missing]):
            targets[row] = -1
            targets[row, is_ordinary[row]] = missing
    return targets


def _asked(
    targets: np.ndarray, shown_at: np.ndarray, read_at: np.ndarray | None, attention: Attention
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of the text are predicted, and which of these can be seen from there."""
    rows, length = shown_at.shape
    can_see = np.ones(targets.shape, dtype=bool)
    if read_at is not None and attention.pattern != "full":
        stands_at = np.take_along_axis(shown_at, targets.clip(0), 1)
        can_see = stands_at <= read_at
        if attention.prefix_lengths is not None:
            can_see |= stands_at < attention.prefix_lengths.numpy()[:, None]
    slots = np.where(targets < 0, length, targets)
    marks = []
    for value in (np.ones_like(can_see), can_see):
        marked = np.zeros((rows, length + 1), dtype=bool)
        np.put_along_axis(marked, np.where(value, slots, length), True, 1)
        marks.append(marked[:, :length])
    return marks[0], marks[1]


def _moved(origins: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The fewest tokens that must be taken out for the others to stand in the old order."""
    moved = np.zeros(real.shape, dtype=bool)
    running = np.maximum.accumulate(origins, 1)
    for row in np.flatnonzero(((origins >= 0) & (origins < running)).any(1)):
        order = origins[row][origins[row] >= 0]
        order = order[real[row][order]]
        moved[row, order] = True
        moved[row, _longest_rise(order.tolist())] = False
    return moved


def _longest_rise(values: list[int]) -> list[int]:
    """The longest increasing part of a sequence of different numbers (Schensted 1961)."""
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
