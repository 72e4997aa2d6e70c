"""Tensors on disk: never a pickle, always verified.

safetensors files under a manifest with their sha256, built aside and renamed, so that a checkpoint
is whole or absent; a flipped byte, a truncated file or tensors of another shape are refused.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import RefusedError
from bench.pretraining.ledger import Ledger
from bench.pretraining.loop import Mean
from bench.storage import new_folder, sweep_leftovers, verify_manifest, write_manifest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.pretraining.loop import Pretraining

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


def checkpoint_of(run: Pretraining) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """All that the rest of the run depends on, as (tensors, JSON values)."""
    moments: dict[str, Tensor] = {}
    for name, parameter in run.parameters.items():
        for key, value in run.optimizer.state.get(parameter, {}).items():
            moments[f"{key}.{name}"] = value
    state = {
        "ledger": dataclasses.asdict(run.ledger),
        "curve": run.curve,
        "recent": {name: [mean.total, mean.divisor] for name, mean in run.recent.items()},
        "gradient_accumulation_steps": run.gradient_accumulation_steps,
    }
    parts = {"encoder": run.encoder.state_dict(), "head": run.head.state_dict()}
    return {**parts, "optimizer": moments}, state


def restore(
    run: Pretraining, parts: dict[str, dict[str, Tensor]], state: dict[str, Any], path: Path
) -> None:
    """Put a run where `checkpoint_of` found it.

    Raises:
        RefusedError: Tensors of another name, shape or type.
    """
    load_weights(run.encoder, parts["encoder"], path)
    load_weights(run.head, parts["head"], path)
    moments = parts["optimizer"]
    keys = ("step", "exp_avg", "exp_avg_sq")
    if moments.keys() not in (set(), {f"{key}.{name}" for key in keys for name in run.parameters}):
        raise RefusedError(f"{path} does not fit: its optimizer state is of other parameters")
    for name, parameter in run.parameters.items() if moments else ():
        for key in keys:
            value = moments[f"{key}.{name}"]
            wanted = torch.Size() if key == "step" else parameter.shape
            if value.shape != wanted or value.dtype != torch.float32:
                raise RefusedError(
                    f"{path} does not fit: {key} of {name} should be float32 {tuple(wanted)}, "
                    f"found {value.dtype} {tuple(value.shape)}"
                )
            run.optimizer.state[parameter][key] = value.to(parameter.device)
    run.ledger = Ledger(**state["ledger"])
    run.curve = state["curve"]
    run.recent = {name: Mean(*sums) for name, sums in state["recent"].items()}
    run.gradient_accumulation_steps = state["gradient_accumulation_steps"]
