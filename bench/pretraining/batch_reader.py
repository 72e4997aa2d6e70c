"""Batches from a token store, on the device of a run, and the statistics that they carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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


class HostRows(NamedTuple):
    """Rows on the host, by the fields of `Batch`."""

    tensors: dict[str, Tensor]
    num_tokens: int
    """Tokens, special ones included, without padding."""


class BatchReader:
    """Reads rows of a token store as batches.

    Args:
        vocabulary: Special and ordinary token ids.
        length: Positions of a row.
        device: Where the tensors go.
        is_bounded: Batches have the documents of their positions.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        length: int,
        device: torch.device,
        is_bounded: bool = False,
    ) -> None:
        self.vocabulary, self.length, self.device = vocabulary, length, device
        self.is_bounded = is_bounded
        self.statistics: dict[str, Tensor] = {}

    def read(self, store: TokenStore, row_ids: Any, progress: float) -> Batch:
        """The batch of some rows.

        Args:
            store: The training part or the held-out part.
            row_ids: Row numbers, an integer array of shape [B].
            progress: Share of the budget spent, 0 to 1.
        """
        return self.place(self.gather(store, row_ids), progress)

    def gather(self, store: TokenStore, row_ids: Any) -> HostRows:
        """Some rows, in memory from which the device copies; any thread may gather them."""
        rows = store.rows(row_ids, self.length, self.vocabulary.cls_id, self.vocabulary.pad_id)
        fields = {**vars(rows), "example_ids": row_ids}
        if self.is_bounded:
            fields["documents"] = store.documents_of(row_ids, self.length)
        mask = rows.attention_mask
        return HostRows(
            {name: self.host_tensor(x) for name, x in fields.items() if x is not None},
            rows.tokens.size if mask is None else int(mask.sum()),
        )

    def place(self, rows: HostRows, progress: float) -> Batch:
        """The batch of gathered rows; the copy to a GPU is asynchronous."""
        fields = {name: self.to_device(tensor) for name, tensor in rows.tensors.items()}
        return Batch(**fields, progress=progress, statistics=self.statistics)

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

    def host_tensor(self, array: Any) -> Tensor:
        """An array as a tensor on the host, in pinned memory where the device is a GPU."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def to_device(self, tensor: Tensor) -> Tensor:
        """A tensor of the host on the device."""
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")
