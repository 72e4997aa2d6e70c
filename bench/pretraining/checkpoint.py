"""Tensors on disk: never a pickle, always verified.

safetensors files under a manifest with their sha256, built aside and renamed, so that a checkpoint
is whole or absent; a flipped byte, a truncated file or tensors of another shape are refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import RefusedError
from bench.storage import new_folder, sweep_leftovers, verify_manifest, write_manifest

if TYPE_CHECKING:
    from torch import Tensor, nn

_STATE = "state.json"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, on the CPU and contiguous."""
    from safetensors.torch import save

    path.write_bytes(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file whose bytes a manifest has already vouched for.

    Raises:
        RefusedError: Not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RefusedError(f"{path} is not a readable safetensors file ({error})") from None


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a module of exactly those names, shapes and types.

    Raises:
        RefusedError: They do not fit; names the first that differs.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        wanted = (tuple(own[name].shape), own[name].dtype) if name in own else "no such tensor"
        found = (tuple(tensors[name].shape), tensors[name].dtype) if name in tensors else "nothing"
        if wanted != found:
            raise RefusedError(f"{path} does not fit: {name} should be {wanted}, found {found}")
    module.load_state_dict(dict(tensors))


def save_checkpoint(
    work: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write `work/step-N` whole, then drop the older ones.

    Args:
        work: The folder of an unfinished run.
        step: Optimizer steps done.
        parts: File stem to tensors.
        state: JSON values.
    """
    target = work / f"step-{step:09d}"
    if target.exists():
        return
    with new_folder(target) as folder:
        for stem, tensors in parts.items():
            write_tensors(folder / f"{stem}.safetensors", tensors)
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")
        write_manifest(folder, [_STATE, *(f"{stem}.safetensors" for stem in parts)])
    for older in checkpoints(work)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def checkpoints(work: Path) -> list[Path]:
    """The checkpoints of an unfinished run, oldest first."""
    return sorted(work.glob("step-*"))


def load_checkpoint(work: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """The newest checkpoint as (parts, state), verified; None where there is none.

    Raises:
        RefusedError: A file of it was changed, cut or is missing.
    """
    sweep_leftovers(work)
    found = checkpoints(work)
    if not found:
        return None
    folder = found[-1]
    verify_manifest(folder)
    parts = {path.stem: read_tensors(path) for path in sorted(folder.glob("*.safetensors"))}
    return parts, json.loads((folder / _STATE).read_text(encoding="utf-8"))
