"""The rows of the next steps, gathered by a thread while the GPU computes this one.

The rows of a step are a function of its number, so the thread needs no state: a run that resumes,
or that cuts its batches into more parts, asks for other rows and gets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import torch

from bench.pretraining.batch_reader import HostRows

if TYPE_CHECKING:
    from torch import Tensor

    from bench.corpus.order import Order
    from bench.corpus.store import TokenStore
    from bench.pretraining.batch_reader import BatchReader
    from bench.pretraining.ranks import Ranks

STEPS_AHEAD = 2
"""Steps whose rows are gathered before they are asked for."""


class RowsKey(NamedTuple):
    """The micro-batch whose rows are asked for."""

    step: int
    micro: int
    micro_batches: int


class TrainingRows:
    """Gathers the rows of micro-batches, ahead of time between `start` and `stop`.

    Args:
        order: The order of the text.
        reader: Reads rows of the store.
        store: The training part.
        rows_together: Rows that are never in different micro-batches.
        ranks: The processes that share the run, each of which gathers its own rows.
    """

    def __init__(
        self,
        order: Order,
        reader: BatchReader,
        store: TokenStore,
        rows_together: int,
        ranks: Ranks,
    ) -> None:
        self.order, self.reader, self.store = order, reader, store
        self.rows_together, self.ranks = rows_together, ranks
        self._executor: ThreadPoolExecutor | None = None
        self._ahead: dict[RowsKey, Future[tuple[HostRows, Tensor]]] = {}

    def start(self) -> None:
        """Start the thread."""
        self._executor = ThreadPoolExecutor(1, "rows")
        if self.reader.device.type == "cuda":  # the current GPU is a property of a thread
            self._executor.submit(torch.cuda.set_device, torch.cuda.current_device())

    def stop(self) -> None:
        """End the thread after the rows that it gathers just now, and forget what it has."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None
        self._ahead.clear()

    def take(self, key: RowsKey) -> tuple[HostRows, Tensor]:
        """The rows of a micro-batch, and the epoch of each."""
        if self._executor is None:
            return self.gather(key)
        keys = [key, *self._following(key)]
        for stale in self._ahead.keys() - keys:
            self._ahead.pop(stale).cancel()
        for wanted in keys:
            if wanted not in self._ahead:
                self._ahead[wanted] = self._executor.submit(self.gather, wanted)
        return self._ahead.pop(key).result()

    def _following(self, key: RowsKey) -> Iterator[RowsKey]:
        """The next micro-batches of this rank, up to `STEPS_AHEAD` steps ahead."""
        step, micro, count = key
        for later in range(step, step + STEPS_AHEAD + 1):
            first = micro + self.ranks.size if later == step else self.ranks.rank
            for i in range(first, count, self.ranks.size):
                yield RowsKey(later, i, count)

    def gather(self, key: RowsKey) -> tuple[HostRows, Tensor]:
        """The rows of a micro-batch and their epochs, gathered here and now."""
        rows, epochs = self.order.batch(*key, self.rows_together)
        return self.reader.gather(self.store, rows), self.reader.host_tensor(epochs)
