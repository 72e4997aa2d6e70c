"""What an objective must leave alone, checked on a run's first steps: it is a stranger's code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.pretraining.batch import Batch


@contextlib.contextmanager
def guarded(name: str, batch: Batch) -> Iterator[None]:
    """Refuse an objective that changes the shared batch or the state of the process.

    Raises:
        BenchError: Names the objective and what it changed.
    """
    before = _state(batch)
    yield
    after = _state(batch)
    changed = [what for what in before if before[what] != after[what]]
    if changed:
        raise BenchError(
            f"objective {name!r} broke its contract: it changed {', '.join(changed)}; draws come "
            "from `noise`, and a batch is read and never written"
        )


def _state(batch: Batch) -> dict[str, Any]:
    tensors = {key: value for key, value in vars(batch).items() if torch.is_tensor(value)}
    return {f"batch.{key}": value._version for key, value in tensors.items()} | process_state()


def process_state() -> dict[str, Any]:
    """What all code of a process shares, by name; to be compared, not restored."""
    # Python's own generator is left out: checkers of annotations draw from it.
    numpy_state: Any = np.random.get_state()  # noqa: NPY002  (read, never drawn from)
    return {
        "torch's global generator": hash(torch.get_rng_state().numpy().tobytes()),
        "NumPy's global generator": hash((numpy_state[1].tobytes(), numpy_state[2])),
        "the default dtype": torch.get_default_dtype(),
        "the gradient mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
    }
