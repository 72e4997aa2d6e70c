"""The batches of a demonstration: rows of a corpus, or a text of the user."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.corpus.sentences import sentence_starts
from bench.errors import BenchError
from bench.pretraining.batch import Batch
from bench.pretraining.batch_reader import STATISTICS_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.objective import Objective


def of_store(store: TokenStore, max_rows: int, length: int, tokenizer: TextTokenizer) -> Batch:
    """Rows of a store at equal distances, because neighbouring rows are often of one document."""
    num_rows = store.num_rows(length)
    ids = np.linspace(0, num_rows - 1, min(max_rows, num_rows)).astype(np.int64)
    return _read(store, np.unique(ids), length, tokenizer)


def _read(store: TokenStore, ids: np.ndarray, length: int, tokenizer: TextTokenizer) -> Batch:
    vocabulary = tokenizer.vocabulary
    rows = store.rows(ids, length, vocabulary.cls_id, vocabulary.pad_id)
    mask = rows.attention_mask
    return Batch(
        tokens=torch.from_numpy(rows.tokens),
        real=torch.from_numpy(rows.real),
        word_start=torch.from_numpy(rows.word_start),
        sentence_start=torch.from_numpy(rows.sentence_start),
        example_ids=torch.from_numpy(ids),
        attention_mask=None if mask is None else torch.from_numpy(mask),
    )


def of_text(text: str, rows: int, length: int, prepared: PreparedCorpus) -> tuple[Batch, bool]:
    """A text as several equal rows, [CLS] tokens [SEP]; and whether the text was cut.

    Raises:
        BenchError: The text has no tokens or is not UTF-8.
    """
    tokenizer, vocabulary = prepared.tokenizer, prepared.tokenizer.vocabulary
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BenchError(f"TEXT {text!r} is not UTF-8; check the locale of this terminal") from None
    (encoded,) = tokenizer.encode([text])
    encoded = prepared.words.mark(text, encoded) if prepared.words is not None else encoded
    if not len(encoded.ids):
        raise BenchError(f"TEXT {text!r} has no tokens to corrupt; give a longer text")
    ids = encoded.ids[: length - 2].astype(np.int64)
    real = ~np.isin(ids, vocabulary.special_ids)
    after_gap = np.append(True, ~real[:-1])
    starts = np.searchsorted(encoded.ends, sentence_starts(text), side="right")
    is_sentence_start = np.isin(np.arange(len(ids)), starts)
    tokens = np.concatenate(([vocabulary.cls_id], ids, [vocabulary.sep_id]))

    def repeat(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).expand(rows, -1).contiguous()

    batch = Batch(
        tokens=repeat(tokens),
        real=repeat(np.pad(real, 1)),
        word_start=repeat(np.pad((encoded.word_start[: len(ids)] | after_gap) & real, 1)),
        sentence_start=repeat(np.pad(is_sentence_start & real, 1)),
        example_ids=torch.zeros(rows, dtype=torch.long),
    )
    return batch, len(encoded.ids) > len(ids)


def collect_statistics(
    objective: Objective, prepared: PreparedCorpus, length: int
) -> dict[str, Tensor]:
    """The objective's statistics of the training part, collected as before a run."""
    store = prepared.train
    step = max(1, STATISTICS_TOKENS // length // 64)
    last = min(store.num_rows(length), max(1, STATISTICS_TOKENS // length))

    def batches() -> Iterator[Batch]:
        for low in range(0, last, step):
            ids = np.arange(low, min(low + step, last))
            yield _read(store, ids, length, prepared.tokenizer)

    return objective.collect_statistics(batches(), prepared.tokenizer.vocabulary)


def select(batch: Batch, rows: range | list[int]) -> Batch:
    """Some rows of a batch."""
    index = torch.tensor(list(rows))
    tensors: dict[str, Any] = {
        name: value[index] for name, value in vars(batch).items() if torch.is_tensor(value)
    }
    return dataclasses.replace(batch, **tensors)
