"""Counter-based random numbers: every draw is a pure function of its seed, example and position.

`Noise(seed, epoch, example_ids)` hashes (seed, epoch, example id, stream name, position) with
integer tensor arithmetic. So a mask is the same on every device, for every micro-batch split,
number of workers and order of rows, and after a resume. There is no generator state to save.

For a draw, a 64-bit counter of the stream and position is XORed with the key of the row, then
multiplied, folded and multiplied again, modulo 2^64. These are seven operations. Their number
matters, because on a batch of 32 x 512 the cost of a draw depends on the number of operations and
not on their size. On a CPU, NumPy does them in the memory of the tensor: the bits are the same and
the cost is a third. The result has 24 bits, which a float32 represents exactly, and is never 1.0.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    Array = Any
    """A tensor; on a CPU a numpy array."""


def _signed(x: int) -> int:
    """The int64 with the bits of a 64-bit word: torch multiplies signed integers modulo 2^64."""
    return (x + 2**63) % 2**64 - 2**63


_GOLDEN = _signed(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads consecutive counters
_EPOCH = _signed(0xD1B54A32D192ED03)
_FIRST = _signed(0xFF51AFD7ED558CCD)  # the two multipliers of MurmurHash3's finaliser
_SECOND = _signed(0xC4CEB9FE1A85EC53)
_LOW_32 = 0xFFFFFFFF
_LOW_24 = 0xFFFFFF


@dataclasses.dataclass(frozen=True, eq=False)
class Noise:
    """Random draws for the rows of one batch.

    Args:
        seed: The run's seed.
        epoch: The pass over the corpus: one number for all rows, or one for each row.
        example_ids: Identity of each row. The draws of a row depend on nothing else in the batch.
    """

    seed: int
    epoch: int | Int[Tensor, " B"]
    example_ids: Int[Tensor, " B"]

    def static(self) -> Noise:
        """The same noise in every epoch (static masking)."""
        return dataclasses.replace(self, epoch=0)

    def bits(self, stream: str, shape: tuple[int, ...]) -> Int[Tensor, "*shape"]:
        """Independent 32-bit integers.

        Args:
            stream: Name of the decision that uses the draws. Streams are independent.
            shape: Shape of the result; its first dimension is the number of `example_ids`.
        """
        drawn = self._hash(_counters(stream, math.prod(shape[1:]), self.example_ids.device))
        return _tensor((drawn >> 32) & _LOW_32).view(shape)

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
        """Independent float32 draws, uniform on the 2^24 multiples of 2^-24 in [0, 1)."""
        drawn = self._hash(_counters(stream, math.prod(shape[1:]), self.example_ids.device))
        return _unit_interval(drawn >> 40).view(shape)

    def uniform_at(self, stream: str, columns: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """The values of `uniform(stream, (B, L))` at some columns, without computing the others."""
        return _unit_interval(self._hash(_counters_at(stream, columns)) >> 40)

    def two_uniforms_at(
        self, stream: str, columns: Int[Tensor, "B K"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
        """`uniform_at` and a second, independent draw from the same 64 bits."""
        drawn = self._hash(_counters_at(stream, columns))
        return _unit_interval(drawn >> 40), _unit_interval(drawn >> 16)

    def _hash(self, counters: Array) -> Array:
        """64 bits for each counter; the upper bits have the better quality."""
        x = counters ^ self._row_keys
        x *= _FIRST
        x ^= x >> 32
        x *= _SECOND
        return x

    @functools.cached_property
    def _row_keys(self) -> Array:
        """[B, 1]: the 64-bit key of each row, from seed, epoch and example id."""
        start, ids = _mix(self.seed), _array(self.example_ids)
        if isinstance(self.epoch, int):
            x = ids * _GOLDEN + _signed(start + self.epoch * _EPOCH)
        else:
            x = ids * _GOLDEN + (_array(self.epoch) * _EPOCH + _signed(start))
        x ^= x >> 32
        x *= _FIRST
        x ^= x >> 29
        return x[:, None]


@functools.lru_cache(maxsize=256)
def _counters(stream: str, size: int, device: torch.device) -> Array:
    """The counters of a stream's first positions, cached: they are the same for every batch."""
    return _counters_at(stream, torch.arange(size, device=device))


def _counters_at(stream: str, columns: Tensor) -> Array:
    x = _array(columns) * _GOLDEN
    x += _offset(stream)
    return x


def _array(x: Tensor) -> Array:
    return x.numpy() if x.device.type == "cpu" else x


def _tensor(x: Array) -> Tensor:
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x


@functools.lru_cache(maxsize=256)
def _offset(stream: str) -> int:
    """The first counter of a stream."""
    return _signed(_mix(zlib.crc32(stream.encode())))


def _mix(x: int) -> int:
    """MurmurHash3's 64-bit finaliser of a Python integer, for values that all rows share."""
    x = (x + _GOLDEN) % 2**64  # without this, zero is mapped to zero
    x = (x ^ x >> 33) * (_FIRST % 2**64) % 2**64
    x = (x ^ x >> 33) * (_SECOND % 2**64) % 2**64
    return x ^ x >> 33


def _unit_interval(bits: Array) -> Tensor:
    return _tensor(bits & _LOW_24).float().mul_(2.0**-24)
