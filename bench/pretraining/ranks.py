"""One run in several processes (ranks), each with its part of every batch.

Rank r of W computes the micro-batches r, r + W, ...; the gradients are added and divided once, as
for micro-batches of one process. So two ranks give the bits of one process with two micro-batches,
and the number of ranks is no part of a run's identity. Whatever a rank may meet alone (its memory
is exhausted, a signal asks it to stop) is agreed on before the next exchange, because a rank that
waits for another one waits for ever.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

TIMEOUT = timedelta(days=7)
"""Ranks wait as long as the first one, which may wait for a lock. Whoever started them ends them
all when one of them dies."""


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process among those of its run; alone unless `join` says otherwise."""

    rank: int = 0
    size: int = 1
    is_sharded: bool = False
    """Whether each has a part of the layers only (`bench.pretraining.accelerator.divided`)."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def agree(self, *flags: bool) -> list[bool]:
        """Each flag: whether it is set on any rank."""
        return [any(values) for values in zip(*self.gather(flags), strict=True)]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in order."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=_control_group())
        return values

    def from_first(self, value: Any) -> Any:
        """The value of the first rank."""
        return self.gather(value)[0]

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor of all ranks, on its device."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradients of each rank by their sum; one that a rank lacks counts as zero."""
        if self.size == 1:
            return
        import torch.distributed as dist

        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
        dist.all_reduce(has, group=_control_group())
        shared = [p for p, count in zip(parameters, has.tolist(), strict=True) if count]
        for parameter in shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in shared if p.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


ALONE = Ranks()


def in_order(parts: Sequence[Sequence[T]]) -> list[T]:
    """The parts of the ranks of each micro-batch, in the order of the micro-batches."""
    return [part[i] for i in range(len(parts[0])) for part in parts]


def check_ranks(ranks: Ranks, num_groups: int, objective: str) -> None:
    """Refuse ranks that would have nothing to do.

    Raises:
        BenchError: A batch has fewer parts than there are ranks.
    """
    if ranks.size > num_groups:
        raise BenchError(
            f"{ranks.size} processes cannot share a batch of {objective}: it has {num_groups} "
            "parts; lower --gpus-per-run, or raise --set training.batch_tokens="
        )


_CONTROL: list[Any] = []


def _control_group() -> Any:
    """The group for flags and figures, which stay on the CPU."""
    return _CONTROL[0] if _CONTROL else None


def join(device: str, is_sharded: bool = False) -> Ranks:
    """Join the ranks that RANK and WORLD_SIZE describe, as torchrun and our launcher set them.

    Args:
        device: The device of the run.
        is_sharded: Divide the layers among them.

    Raises:
        BenchError: The variables are incomplete.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    missing = [n for n in ("RANK", "MASTER_ADDR", "MASTER_PORT") if n not in os.environ]
    if missing:
        raise BenchError(
            f"WORLD_SIZE is {size}, and {', '.join(missing)} is not set; start ranks with "
            "--gpus-per-run or torchrun"
        )
    import torch.distributed as dist

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
        # A rank that had done its work was aborted at exit, most likely by a thread of this group.
        atexit.register(dist.destroy_process_group)
    if device == "cuda" and not _CONTROL:
        _CONTROL.append(dist.new_group(backend="gloo", timeout=TIMEOUT))
    return Ranks(dist.get_rank(), size, is_sharded)
