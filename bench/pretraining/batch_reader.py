"""Batches from a token store, on the device of a run, and the statistics that they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.pretraining.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.objective import Objective

STATISTICS_TOKENS = 2**24
"""Maximum number of tokens that an objective may read before the first step."""


class BatchReader:
    """Reads rows of a token store as batches.

    Args:
        vocabulary: Special and ordinary token ids.
        length: Positions of a row.
        device: Where the tensors go.
    """

    def __init__(self, vocabulary: Vocabulary, length: int, device: torch.device) -> None:
        self.vocabulary, self.length, self.device = vocabulary, length, device
        self.statistics: dict[str, Tensor] = {}

    def read(self, store: TokenStore, row_ids: Any, progress: float) -> Batch:
        """The batch of some rows.

        Args:
            store: The training part or the held-out part.
            row_ids: Row numbers, an integer array of shape [B].
            progress: Share of the budget spent, 0 to 1.
        """
        rows = store.rows(row_ids, self.length, self.vocabulary.cls_id, self.vocabulary.pad_id)
        mask = rows.attention_mask
        return Batch(
            tokens=self.tensor(rows.tokens),
            real=self.tensor(rows.real),
            word_start=self.tensor(rows.word_start),
            sentence_start=self.tensor(rows.sentence_start),
            example_ids=self.tensor(row_ids),
            attention_mask=None if mask is None else self.tensor(mask),
            progress=progress,
            statistics=self.statistics,
        )

    def collect_statistics(self, objective: Objective, store: TokenStore) -> None:
        """Let the objective read the beginning of the training part once, before the first step.

        All later batches carry the result.
        """
        rows = max(1, STATISTICS_TOKENS // self.length // 64)
        last = min(store.num_rows(self.length), STATISTICS_TOKENS // self.length)
        batches = (
            self.read(store, np.arange(low, min(low + rows, last)), 0.0)
            for low in range(0, last, rows)
        )
        statistics = objective.collect_statistics(batches, self.vocabulary)
        self.statistics = {name: tensor.to(self.device) for name, tensor in statistics.items()}

    def tensor(self, array: Any) -> Tensor:
        """An array on the device; the copy to a GPU is asynchronous."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor
