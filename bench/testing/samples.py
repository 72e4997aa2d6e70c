"""Small batches with the shapes that the token store gives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from bench.corpus.tokenizer import Vocabulary
from bench.pretraining.batch import Batch
from bench.pretraining.noise import Noise

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_VOCABULARY = Vocabulary(
    size=500, pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4, special_ids=(0, 1, 2, 3, 4)
)

SCATTERED_VOCABULARY = Vocabulary(
    size=60, pad_id=9, unk_id=0, cls_id=31, sep_id=8, mask_id=59, special_ids=(0, 8, 9, 31, 59)
)
"""Special tokens at arbitrary ids, as in other tokenizers, so that no id can be guessed."""


def sample_batch(
    rows: int,
    length: int,
    seed: int = 0,
    words: float = 0.6,
    vocabulary: Vocabulary = SAMPLE_VOCABULARY,
) -> Batch:
    """Random rows: [CLS], tokens in words, some [SEP]; of several rows the last one is padded.

    Args:
        rows: Number of rows, B.
        length: Length of a row, L.
        seed: Each seed gives another batch.
        words: Share of tokens that start a word.
        vocabulary: The vocabulary of the tokens.
    """
    ids = torch.arange(rows) + 1000
    noise = Noise(seed, 0, ids)
    shape = (rows, length)
    tokens = vocabulary.draw_ordinary(noise.uniform("tokens", shape))
    tokens[noise.uniform("separators", shape) < 0.03] = vocabulary.sep_id
    tokens[:, 0] = vocabulary.cls_id
    attention_mask = torch.ones(shape, dtype=torch.bool)
    if rows > 1:
        attention_mask[-1, length // 2 :] = False
        tokens[~attention_mask] = vocabulary.pad_id
    real = ~vocabulary.is_special(tokens)
    starts = noise.uniform("words", shape) < words
    starts[:, 1:] |= ~real[:, :-1]
    sentences = starts & real & (noise.uniform("sentences", shape) < 0.1)
    return Batch(
        tokens,
        real,
        starts & real,
        sentences,
        ids,
        attention_mask=None if rows == 1 else attention_mask,
    )


def short_batch(length: int, vocabulary: Vocabulary = SAMPLE_VOCABULARY) -> Batch:
    """Almost empty rows: no token, separators only, one token, two tokens.

    Args:
        length: Length of a row, L, at least 4.
        vocabulary: The vocabulary of the tokens.
    """
    v, some = vocabulary, vocabulary.draw_ordinary(torch.tensor([0.3, 0.6])).tolist()
    texts = [[], [v.sep_id, v.sep_id], some[:1], some]
    rows = [[v.cls_id, *text, *[v.pad_id] * (length - 1 - len(text))] for text in texts]
    tokens = torch.tensor(rows)
    real = ~v.is_special(tokens)
    attention_mask = tokens != v.pad_id
    return Batch(tokens, real, real, real, torch.arange(len(rows)) + 1000, attention_mask)


def rows_of(batch: Batch, index: Tensor) -> Batch:
    """Some rows of a batch, as a batch."""
    fields: dict[str, Any] = {
        name: value[index] if isinstance(value, torch.Tensor) else value
        for name, value in vars(batch).items()
    }
    return dataclasses.replace(batch, **fields)
