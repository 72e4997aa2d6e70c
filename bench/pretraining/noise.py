"""Randomness without a generator: every draw is a pure function of where it is used.

`Noise(seed, epoch, example_ids)` hashes (seed, epoch, example id, stream name, position) with
integer tensor arithmetic, so a mask is the same on every device, in every micro-batch split,
worker count, order and resume, and no generator state exists that could be lost. A draw is a
64-bit counter, one for each stream and position, XORed with the key of its row and then multiplied,
folded and multiplied again, modulo 2^64: seven operations, because on a batch of 32 x 512 the cost
of a draw is the number of operations and not their size. On a CPU they are numpy's on the tensor's
own memory, the same bits for a third of that cost. 24 bits are kept: a float32 holds them exactly
and 1.0 is never drawn.
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
    """A 64-bit word as the int64 of the same bits: torch multiplies modulo 2^64, with a sign."""
    return (x + 2**63) % 2**64 - 2**63


_GOLDEN = _signed(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: consecutive counters land far apart
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
        epoch: The pass over the corpus, one for all rows or one for each.
        example_ids: Identity of each row; a row's draws depend on nothing else of the batch.
    """

    seed: int
    epoch: int | Int[Tensor, " B"]
    example_ids: Int[Tensor, " B"]

    def static(self) -> Noise:
        """The same noise in every epoch (static masking)."""
        return dataclasses.replace(self, epoch=0)

    def bits(self, stream: str, shape: tuple[int, ...]) -> Int[Tensor, "*shape"]:
        """Independent 32-bit integers, shape[0] rows as in `example_ids`.

        Args:
            stream: Which decision the draws are for; streams are independent of each other.
            shape: The wanted shape; its first entry is the number of rows.
        """
        drawn = self._hash(_counters(stream, math.prod(shape[1:]), self.example_ids.device))
        return _tensor((drawn >> 32) & _LOW_32).view(shape)

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
        """Independent float32 draws, uniform on the 2^24 multiples of 2^-24 in [0, 1)."""
        drawn = self._hash(_counters(stream, math.prod(shape[1:]), self.example_ids.device))
        return _unit_interval(drawn >> 40).view(shape)

    def uniform_at(self, stream: str, columns: Int[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """The entries of `uniform(stream, (B, L))` at the given columns, without the others."""
        return _unit_interval(self._hash(_counters_at(stream, columns)) >> 40)

    def two_uniforms_at(
        self, stream: str, columns: Int[Tensor, "B K"]
    ) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
        """`uniform_at` and a second draw, independent of it, out of the same 64 bits."""
        drawn = self._hash(_counters_at(stream, columns))
        return _unit_interval(drawn >> 40), _unit_interval(drawn >> 16)

    def _hash(self, counters: Array) -> Array:
        """64 bits each, the upper ones the best."""
        x = counters ^ self._row_keys
        x *= _FIRST
        x ^= x >> 32
        x *= _SECOND
        return x

    @functools.cached_property
    def _row_keys(self) -> Array:
        """[B, 1]: a 64-bit key of all that a row's draws depend on."""
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
    """The counters of a stream's first positions, kept: they are the same for every batch."""
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
    """Where a stream's counters begin."""
    return _signed(_mix(zlib.crc32(stream.encode())))


def _mix(x: int) -> int:
    """MurmurHash3's 64-bit finaliser of one number: what all rows share costs no tensor."""
    x = (x + _GOLDEN) % 2**64  # zero would stay zero
    x = (x ^ x >> 33) * (_FIRST % 2**64) % 2**64
    x = (x ^ x >> 33) * (_SECOND % 2**64) % 2**64
    return x ^ x >> 33


def _unit_interval(bits: Array) -> Tensor:
    return _tensor(bits & _LOW_24).float().mul_(2.0**-24)
