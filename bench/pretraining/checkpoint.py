"""Checkpoints of unfinished runs on disk, without pickle and always verified.

A checkpoint is a folder of safetensors files and a manifest with their sha256. It is written under
a temporary name and renamed, so that it is complete or absent. A flipped byte, a truncated file and
tensors of another shape are refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.errors import RefusedError
from bench.pretraining.ledger import Ledger
from bench.pretraining.loss_sums import Feedback, Mean
from bench.pretraining.ranks import check_ranks
from bench.pretraining.tensors import (
    describe_tensor,
    read_tensors,
    refuse_unlike,
    write_tensors,
)
from bench.storage import new_folder, sweep_leftovers, verify_manifest, write_manifest

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.loop import Pretraining

_STATE = "state.json"
_FEEDBACK = ("statistics", "counters")
"""The parts of a checkpoint that only an objective with feedback has."""


def save_checkpoint(
    work: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write the checkpoint `work/step-N`, then remove the older ones.

    Args:
        work: The folder of an unfinished run.
        step: Number of completed optimizer steps.
        parts: Tensors by the stem of their file.
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
    """The newest checkpoint as (parts, state), verified; None if there is no checkpoint.

    Raises:
        RefusedError: A file of the checkpoint was changed or truncated, or is missing.
    """
    sweep_leftovers(work)
    folders = checkpoints(work)
    if not folders:
        return None
    folder = folders[-1]
    verify_manifest(folder)
    parts = {path.stem: read_tensors(path) for path in sorted(folder.glob("*.safetensors"))}
    return parts, json.loads((folder / _STATE).read_text(encoding="utf-8"))


def checkpoint_of(run: Pretraining) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The state on which the rest of a run depends, as (tensors, JSON values).

    All ranks must ask for it, and the first one gets it.
    """
    moments: dict[str, Tensor] = {}
    for name, parameter in run.parameters.items():
        for key, value in run.optimizer.state.get(parameter, {}).items():
            moments[f"{key}.{name}"] = run.weights.whole(name, value)
    state = {
        "ledger": dataclasses.asdict(run.ledger),
        "curve": run.curve,
        "recent": {name: [mean.total, mean.divisor] for name, mean in run.recent.items()},
        "gradient_accumulation_steps": run.gradient_accumulation_steps,
    }
    parts = run.weights.state()
    if run.feedback is not None:
        parts |= {part: dict(getattr(run.feedback, part)) for part in _FEEDBACK}
    return {**parts, "optimizer": moments}, state


def restore(
    run: Pretraining, parts: dict[str, dict[str, Tensor]], state: dict[str, Any], path: Path
) -> None:
    """Set a run to the state of a checkpoint.

    Args:
        run: A new run with the same specification.
        parts: Tensors, as from `checkpoint_of`.
        state: JSON values, as from `checkpoint_of`.
        path: The folder of the checkpoint, for error messages.

    Raises:
        RefusedError: A tensor has another name, shape or type than in the run.
    """
    run.weights.load(parts, path)
    moments = parts["optimizer"]
    keys = ("step", "exp_avg", "exp_avg_sq")
    if moments.keys() not in (set(), {f"{key}.{name}" for key in keys for name in run.parameters}):
        raise RefusedError(
            f"{path} does not fit the model: its optimizer state belongs to other parameters"
        )
    for name, parameter in run.parameters.items() if moments else ():
        for key in keys:
            value = moments[f"{key}.{name}"]
            shape = torch.Size() if key == "step" else run.weights.shape(name)
            if value.shape != shape or value.dtype != torch.float32:
                raise RefusedError(
                    f"{path} does not fit the model: expected torch.float32 {tuple(shape)} for "
                    f"{key} of {name}, got {describe_tensor(value)}"
                )
            run.optimizer.state[parameter][key] = run.weights.own(name, value).to(parameter.device)
    if run.feedback is not None:
        statistics, counters = (
            {name: tensor.to(run.device) for name, tensor in parts.get(part, {}).items()}
            for part in _FEEDBACK
        )
        refuse_unlike(run.feedback.statistics, statistics, path)
        run.feedback = Feedback(statistics, counters)
    run.ledger = Ledger(**state["ledger"])
    run.curve = state["curve"]
    run.recent = {name: Mean(*sums) for name, sums in state["recent"].items()}
    steps = math.lcm(state["gradient_accumulation_steps"], run.ranks.size)
    check_ranks(dataclasses.replace(run.ranks, size=steps), run.num_groups, run.objective.name)
    run.gradient_accumulation_steps = steps
