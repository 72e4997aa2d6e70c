"""Checkpoints that runs continue (`--init`), and public encoders beside them (`--encoder`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, RefusedError
from bench.machine import cores
from bench.settings import as_mapping, from_mapping, whole_number
from bench.sizes import Size, continued_size
from bench.spec import EncoderShape, Overrides, Training

if TYPE_CHECKING:
    from bench.pretraining.checkpoints.source import Checkpoint

NOT_CONTINUED = "not continued"
"""The display name of the untouched checkpoint."""


def read_checkpoint(text: Any, option: str, records: Path) -> Checkpoint:
    """The checkpoint of a folder, `hf:NAME`, or a run under `records`.

    Raises:
        BenchError: No such checkpoint, or none that bench can read.
    """
    from bench.pretraining.checkpoints.source import HUB_PREFIX, open_checkpoint
    from bench.records.store import selected_folders

    if not isinstance(text, str | os.PathLike) or not str(text):
        raise BenchError(f"{option}: give a folder, the id of a run or hf:NAME, got {text!r}")
    name = str(text)
    if name.startswith(HUB_PREFIX) or Path(name).expanduser().exists() or os.sep in name:
        return open_checkpoint(name)
    try:
        folders = _without_continuations(selected_folders(records, [name]))
    except BenchError as error:
        if isinstance(error, RefusedError):
            raise
        raise BenchError(
            f"{option} {name}: no such folder, and {error}; a model of the hub is hf:{name}"
        ) from None
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders[:4])
        raise BenchError(f"{option} {name} is the beginning of several runs ({names}); name one")
    return open_checkpoint(str(folders[0]))


def name_of(text: Any, checkpoint: Checkpoint | None) -> Any:
    """The text of `--init` for commands: the beginning of an id may have several runs later."""
    is_run = checkpoint is not None and checkpoint.init.name.startswith(str(text))
    return checkpoint.init.name if checkpoint is not None and is_run else text


def _without_continuations(folders: list[Path]) -> list[Path]:
    """The runs without those that continue another one of them, whose ids may begin alike."""
    sources = {
        folder: json.loads((folder / "run.json").read_text(encoding="utf-8")).get("init", {})
        for folder in folders
    }
    names = {folder.name for folder in folders}
    return [folder for folder in folders if sources[folder].get("name") not in names]


def read_encoders(encoders: Any, records: Path) -> tuple[Checkpoint, ...]:
    """The checkpoints of `--encoder`, each once."""
    listed = [encoders] if isinstance(encoders, str | os.PathLike) else list(encoders)
    checkpoints = [read_checkpoint(one, "--encoder", records) for one in listed]
    return tuple({one.init.sha256: one for one in checkpoints}.values())


def continued(
    checkpoint: Checkpoint, overrides: Overrides, size: str, tokenizer: Any, ladder: Iterable[str]
) -> tuple[Size, EncoderShape, Training]:
    """Size, shape and hyperparameters of runs that continue a checkpoint.

    Raises:
        BenchError: An option contradicts the checkpoint.
    """
    name, shape = checkpoint.init.name, checkpoint.shape
    own = dict(overrides.get("encoder", {}))
    length = own.pop("max_length", shape.max_length)
    given = {
        f"--size {size}": size != "tiny",
        "--tokenizer": tokenizer is not None,
        "--ladder": bool(list(ladder)),
        **{f"--set encoder.{setting}": True for setting in own},
    }
    contradictions = [option for option, is_given in given.items() if is_given]
    if contradictions:
        raise BenchError(
            f"{contradictions[0]} contradicts --init: {name} brings its own tokenizer and an "
            f"encoder of {shape.num_layers} layers x {shape.hidden_size}; leave the option out "
            "(encoder.max_length may be lowered)"
        )
    shorter = from_mapping(EncoderShape, as_mapping(shape) | {"max_length": length}, "encoder")
    if shorter.max_length > shape.max_length:
        raise BenchError(
            f"encoder.max_length {shorter.max_length} contradicts --init: {name} has "
            f"{shape.max_length} positions; give {shape.max_length} or less"
        )
    chosen = dict(overrides.get("training", {}))
    batch = chosen.get("batch_tokens")
    num_tokens = whole_number(batch) or None
    standard = continued_size(checkpoint.size, name, shorter, num_tokens)
    threads = {"threads": min(standard.training.threads, cores())}
    training = from_mapping(Training, as_mapping(standard.training) | threads | chosen, "training")
    if training.batch_tokens < shorter.max_length:
        raise BenchError(
            f"training.batch_tokens {training.batch_tokens} is smaller than one row of "
            f"{shorter.max_length} tokens; raise it or lower --set encoder.max_length="
        )
    return standard, shorter, training
