"""The rows of each step: a pure function of (seed, step), so there is no loader state to save.

Each epoch is a permutation of the rows that is computed by arithmetic: a Feistel network over the
next power of four, applied again to results beyond the last row (cycle walking). No permutation is
stored, memory holds one block of steps, and the rows of any step of any run are computed directly.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int64

_LOW_32 = np.uint64(0xFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B9)
_BLOCK = 64
_ROUNDS = 8  # four are enough for large halves; a few rows have halves of one or two bits


@dataclasses.dataclass(frozen=True)
class Order:
    """The order in which the rows of a corpus are read, batch by batch.

    Epochs follow each other without a gap: one batch may end an epoch and begin the next.
    """

    num_rows: int
    rows_per_step: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_rows < 1 or self.rows_per_step < 1:
            raise ValueError(f"an order needs at least one row and one row per step, got {self}")

    def batch(
        self,
        step: int,
        micro: int = 0,
        gradient_accumulation_steps: int = 1,
        rows_together: int = 1,
    ) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """Row ids of a step, and the epoch of each row.

        Args:
            step: The optimizer step, from 0.
            micro: Index of the micro-batch, from 0.
            gradient_accumulation_steps: Number of micro-batches; joined in order, they are the
                batch of the step.
            rows_together: Rows that are never in different micro-batches: the first ones of the
                step, the next ones, and so on.
        """
        groups = -(-self.rows_per_step // rows_together)
        low, high = (
            min(groups * part // gradient_accumulation_steps * rows_together, self.rows_per_step)
            for part in (micro, micro + 1)
        )
        rows, epochs = self._block(step // _BLOCK)
        first = step % _BLOCK * self.rows_per_step
        part = slice(first + low, first + high)
        return rows[part].copy(), epochs[part].copy()  # tensors of a batch share this memory

    @functools.lru_cache(maxsize=4)  # noqa: B019  # a few arrays of a few thousand rows
    def _block(self, number: int) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
        """Rows and epochs of `_BLOCK` steps, which cost about as much as those of one."""
        count = _BLOCK * self.rows_per_step
        positions = number * count + np.arange(count, dtype=np.int64)
        epochs, places = np.divmod(positions, self.num_rows)
        return self._permute(places.astype(np.uint64), epochs.astype(np.uint64)), epochs

    def _permute(self, places: np.ndarray, epochs: np.ndarray) -> Int64[np.ndarray, " B"]:
        keys = _round_keys(self.seed, epochs)
        half_bits = np.uint64(max(1, ((self.num_rows - 1).bit_length() + 1) // 2))
        rows = _feistel(places, keys, half_bits)
        while (outside := np.flatnonzero(rows >= self.num_rows)).size:
            rows[outside] = _feistel(rows[outside], keys[:, outside], half_bits)
        return rows.astype(np.int64)


def _feistel(x: np.ndarray, keys: np.ndarray, half_bits: np.uint64) -> np.ndarray:
    """A bijection on the integers below 4 ** half_bits; each set of keys gives another one."""
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = x >> half_bits, x & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    joined: np.ndarray = (left << half_bits) | right
    return joined


def _round_keys(seed: int, epochs: np.ndarray) -> np.ndarray:
    """One 32-bit key per round and row, from seed and epoch."""
    key = np.zeros_like(epochs)
    for word in (np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF), epochs):
        key = _mix(((key + _GOLDEN) & _LOW_32) ^ (word & _LOW_32))
    rounds = np.arange(1, _ROUNDS + 1, dtype=np.uint64)[:, None] * _GOLDEN
    return _mix((key + rounds) & _LOW_32)


def _mix(x: np.ndarray) -> np.ndarray:
    """Hash 32-bit values stored as uint64; the same hash as the noise, on NumPy arrays."""
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & _LOW_32
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & _LOW_32
    mixed: np.ndarray = x ^ (x >> np.uint64(16))
    return mixed
