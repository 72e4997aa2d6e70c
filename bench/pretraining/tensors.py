"""Tensors on disk as safetensors, without pickle, and checked before they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import RefusedError

if TYPE_CHECKING:
    from torch import Tensor, nn


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, as contiguous tensors on the CPU."""
    from safetensors.torch import save

    path.write_bytes(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; the caller has verified its bytes against a manifest.

    Raises:
        RefusedError: The file is not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RefusedError(f"cannot read {path} as a safetensors file: {error}") from None


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a module, which must have exactly their names, shapes and types.

    Args:
        module: The module whose weights are replaced.
        tensors: Its new weights by name.
        path: The file of the tensors, for the error message.

    Raises:
        RefusedError: The tensors do not fit; the message names the first one that differs.
    """
    refuse_unlike(module.state_dict(), tensors, path)
    module.load_state_dict(dict(tensors))


def refuse_unlike(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Refuse tensors that have not exactly the expected names, shapes and types."""
    for name in sorted(expected.keys() | tensors.keys()):
        wanted, actual = describe_tensor(expected.get(name)), describe_tensor(tensors.get(name))
        if wanted != actual:
            raise RefusedError(
                f"{path} does not fit the model: expected {wanted} for {name}, got {actual}"
            )


def describe_tensor(tensor: Tensor | None) -> str:
    """Type and shape in words."""
    return "no tensor" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
