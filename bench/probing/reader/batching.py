"""Texts as rows of token ids: `[CLS] tokens [SEP]`, cut or in windows, batched and pooled."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.machine import beat

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from bench.corpus.tokenizer import TextTokenizer

Span = tuple[int, int]
"""The character range of a word, [start, end)."""

CPU_BATCH_TOKENS = 4_096
"""Padded tokens of a batch; 30 % faster than 16,384 on one core, because it fits the cache."""
GPU_BATCH_TOKENS = 32_768


MAX_WINDOWS = 64
"""Windows of a text at most; tokens after them are cut. 64 of 62 tokens each read 2,000 tokens."""


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One text, or one window of it, as the encoder reads it."""

    tokens: Int[np.ndarray, " L"]
    words: Int[np.ndarray, " L"]
    """The word of each token; -1 for a special token, which is never hidden or scored."""
    starts: Int[np.ndarray, " L-2"]
    ends: Int[np.ndarray, " L-2"]
    truncated: bool

    def places(self, spans: Sequence[Span]) -> Int[np.ndarray, "T 2"]:
        """The positions of each word's first and last token; 0, the [CLS], for a word outside."""
        begin, end = np.asarray(spans, dtype=np.int64).reshape(-1, 2).T
        first = np.searchsorted(self.ends, begin, side="right")
        last = np.searchsorted(self.starts, end, side="left")
        is_inside = (first < last)[:, None]
        return np.where(is_inside, np.stack((first + 1, last), axis=1), 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """A row of a text that is longer than the encoder reads; the only row of a shorter one."""

    text: int
    """The index of the text."""
    row: Row
    low: int
    high: int
    """The positions [low, high) whose features the text takes from this window."""


def read_rows(tokenizer: TextTokenizer, texts: Sequence[str], max_length: int) -> list[Row]:
    """Tokenise and cut; special tokens inside a text keep their place but belong to no word."""
    return [window.row for window in _windows(tokenizer, texts, max_length, 1)]


def read_windows(tokenizer: TextTokenizer, texts: Sequence[str], max_length: int) -> list[Window]:
    """All of each text: windows as long as the encoder reads, which overlap by half.

    A token in two windows takes its features from the one whose ends are farther away (the
    "maximum context" of BERT on SQuAD). Only tokens after `MAX_WINDOWS` windows are cut.
    """
    return _windows(tokenizer, texts, max_length, MAX_WINDOWS)


def _windows(
    tokenizer: TextTokenizer, texts: Sequence[str], max_length: int, at_most: int
) -> list[Window]:
    vocabulary, room = tokenizer.vocabulary, max_length - 2
    is_special, windows = np.zeros(vocabulary.size, dtype=bool), []
    is_special[list(vocabulary.special_ids)] = True
    for text, encoded in enumerate(tokenizer.encode(texts)):
        count, stride = len(encoded.ids), max(1, room // 2)
        starts = [0]
        while starts[-1] + room < count and len(starts) < at_most:
            starts.append(min(starts[-1] + stride, count - room))
        is_cut = starts[-1] + room < count
        words = np.where(is_special[encoded.ids], -1, np.cumsum(encoded.word_start))
        # The border between two windows is the middle of their overlap.
        borders = [(a + room + b + 1) // 2 for a, b in itertools.pairwise(starts)]
        borders = [0, *borders, min(starts[-1] + room, count)]
        for start, low, high in zip(starts, borders[:-1], borders[1:], strict=True):
            part = slice(start, start + room)
            row = Row(
                tokens=np.concatenate(
                    ([vocabulary.cls_id], encoded.ids[part], [vocabulary.sep_id])
                ),
                words=np.concatenate(([-1], words[part], [-1])),
                starts=encoded.starts[part],
                ends=encoded.ends[part],
                truncated=is_cut,
            )
            windows.append(Window(text, row, low - start + 1, high - start + 1))
    return windows


def pad(
    rows: Sequence[Row], pad_id: int, device: torch.device
) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"], Bool[Tensor, "B L"] | None]:
    """Tokens, words (-1 in the padding), and the attention mask; None if nothing is padded."""
    lengths = np.array([len(row.tokens) for row in rows])
    tokens = np.full((len(rows), lengths.max()), pad_id, dtype=np.int64)
    words = np.full_like(tokens, -1)
    for i, row in enumerate(rows):
        tokens[i, : lengths[i]], words[i, : lengths[i]] = row.tokens, row.words
    attention_mask = None
    if lengths.min() < lengths.max():
        attention_mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(device)
    return torch.from_numpy(tokens).to(device), torch.from_numpy(words).to(device), attention_mask


def batch_tokens(device: torch.device) -> int:
    """The number of padded tokens that a batch may hold where nothing is trained."""
    return CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS


def batches(
    lengths: Sequence[int] | Int[np.ndarray, " N"], limit: int
) -> Iterator[Int[np.ndarray, " B"]]:
    """Indices in order of length, cut so that a padded batch holds at most `limit` tokens."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - start) * lengths[order[stop]] > limit:
            beat()
            yield order[start:stop]
            start = stop


def pool(
    hidden: Float[Tensor, "B S L D"], low: Int[Tensor, " B"], high: Int[Tensor, " B"]
) -> Float[Tensor, "B S 3 D"]:
    """Mean, first and last of the positions [low, high); the [CLS] where there are none."""
    b = torch.arange(len(hidden), device=hidden.device)
    low, high = torch.where(low < high, low, 0), torch.where(low < high, high, 1)
    column = torch.arange(hidden.shape[2], device=hidden.device)
    is_pooled = (column >= low[:, None]) & (column < high[:, None])
    mean = (hidden * is_pooled[:, None, :, None]).sum(2) / is_pooled.sum(1)[:, None, None]
    return torch.stack((mean, hidden[b, :, low], hidden[b, :, high - 1]), dim=2)


def pool_words(
    hidden: Float[Tensor, "B S L D"], rows: Int[np.ndarray, " T"], places: Int[np.ndarray, "T 2"]
) -> Float[Tensor, "T S 3 D"]:
    """Mean, first and last of each word's tokens.

    Args:
        hidden: The states of a batch.
        rows: The row of each word.
        places: The positions of its first and last token.
    """
    device = hidden.device
    b, first, last = (torch.from_numpy(x).to(device) for x in (rows, *places.T))
    counts = places[:, 1] - places[:, 0] + 1
    owner = torch.from_numpy(np.repeat(np.arange(len(rows)), counts)).to(device)
    offset = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    tokens = hidden[b[owner], :, first[owner] + torch.from_numpy(offset).to(device)]
    sums = tokens.new_zeros(len(rows), *tokens.shape[1:]).index_add_(0, owner, tokens)
    mean = sums / torch.from_numpy(counts).to(device)[:, None, None]
    return torch.stack((mean, hidden[b, :, first], hidden[b, :, last]), dim=2)
