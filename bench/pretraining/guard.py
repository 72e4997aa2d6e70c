"""Checks that an objective changes neither the batch nor the state of the process.

They run in every step, because an objective may be third-party code. On a CPU the values of the
batch are compared as well: `tensor.data` and `tensor.numpy()` change a tensor unnoticed by torch.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.pretraining.batch import Batch


@contextlib.contextmanager
def refuse_side_effects(name: str, batch: Batch) -> Iterator[None]:
    """Refuse an objective that changes the shared batch or the state of the process.

    Args:
        name: Name of the objective.
        batch: The batch that the objective corrupts inside the `with` block.

    Raises:
        BenchError: The objective changed one of them; the message names it.
    """
    before = _state(batch)
    yield
    after = _state(batch)
    changed = [item for item in before if before[item] != after[item]]
    if changed:
        raise BenchError(
            f"objective {name!r} broke its contract: it changed {', '.join(changed)}; draw random "
            "numbers from `noise`, and copy a tensor of the batch before you change it"
        )


def _state(batch: Batch) -> dict[str, Any]:
    tensors = {key: value for key, value in vars(batch).items() if torch.is_tensor(value)}
    return {f"batch.{key}": _content(value) for key, value in tensors.items()} | process_state()


def _content(tensor: torch.Tensor) -> Any:
    """A value that changes with those of a tensor, without waiting for a GPU."""
    if tensor.device.type != "cpu":
        return tensor._version
    return tensor._version, zlib.crc32(tensor.detach().contiguous().numpy().data)


def process_state() -> dict[str, Any]:
    """The global state that plugins must not change, by name, to be compared and not restored."""
    # Python's own generator is not included, because type checkers of annotations draw from it.
    numpy_state: Any = np.random.get_state()  # noqa: NPY002  (no number is drawn from it)
    return {
        "torch's global generator": hash(torch.get_rng_state().numpy().tobytes()),
        "NumPy's global generator": hash((numpy_state[1].tobytes(), numpy_state[2])),
        "the default dtype": torch.get_default_dtype(),
        "the gradient mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "the deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
    }
