"""The options of `bench run` that give an experiment again, without its objectives and seeds.

They are kept in each run's record, so that a report can print commands that work.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from bench.errors import BenchError

Options = tuple[tuple[str, str], ...]
"""Pairs of a flag and its value."""

_DEFAULTS = {
    "size": "tiny",
    "text_column": "text",
    "words": "auto",
    "documents": "auto",
    "device": "auto",
    "probe": "linear",
    "curve": 1,
}


def check_difference(points: float) -> None:
    """Refuse a difference (`--detect`) that nothing can show.

    Raises:
        BenchError: It is not above 0, or infinite.
    """
    if not 0 < points < math.inf:
        raise BenchError(f"--detect {points}: give a difference above 0, in points")


def checked_shard(shard: Any, gpus_per_run: int) -> bool:
    """Whether layers are divided among the processes of a run.

    Raises:
        BenchError: It is no truth value, or there is nobody to share them with.
    """
    if not isinstance(shard, bool):
        raise BenchError(f"shard: give true or false, got {shard!r}")
    if shard and gpus_per_run == 1:
        raise BenchError(
            "--shard divides the layers among the processes of a run, and this run has one; give "
            "--gpus-per-run 2 or more with it"
        )
    return shard


def options_of(arguments: Mapping[str, Any]) -> Options:
    """The flags of the arguments of `resolve` that differ from the defaults.

    Args:
        arguments: Keyword arguments of `bench.experiment.resolve`.
    """
    flags: list[tuple[str, str]] = []
    corpus = arguments.get("corpus")
    parts = [corpus] if isinstance(corpus, str | os.PathLike) or corpus is None else corpus
    for part in parts if isinstance(parts, Iterable) else [parts]:
        if part is not None:
            flags.append(("--corpus", str(getattr(part, "display_name", part))))
    names = list(_names(arguments.get("tasks")))
    if names:
        flags.append(("--tasks", ",".join(names)))
    task = arguments.get("task") or ()
    flags += [("--task", written) for written in ([task] if isinstance(task, str) else task)]
    encoders = arguments.get("encoder") or ()
    for one in [encoders] if isinstance(encoders, str | os.PathLike) else encoders:
        flags.append(("--encoder", str(one)))
    for name in ("init", "forget", "size", "budget", "data", "tokenizer", "text_column", "words",
                 "documents", "device", "limit", "curve"):  # fmt: skip
        value = arguments.get(name)
        if value is not None and value != _DEFAULTS.get(name):
            flags.append((f"--{name.replace('_', '-')}", _text(value)))
    tune = arguments.get("tune") or ()
    flags += [("--tune", text) for text in ([tune] if isinstance(tune, str) else tune)]
    if arguments.get("tune_on", "loss") != "loss":
        flags.append(("--tune-on", str(arguments["tune_on"])))
    probe = arguments.get("probe", "linear")
    written = probe if isinstance(probe, str) else ",".join(probe)
    if written != "linear":
        flags.append(("--probe", written))
    return (*flags, *(("--set", text) for text in _settings(arguments.get("settings", ()))))


def _names(tasks: Any) -> Iterable[str]:
    if isinstance(tasks, str):
        return [tasks]
    if isinstance(tasks, Iterable):
        return [name for one in tasks for name in _names(one)]
    if tasks is None:
        return []
    return [str(getattr(tasks if inspect.isclass(tasks) else type(tasks), "name", tasks))]


def _text(value: Any) -> str:
    """A value as an option: a budget without its separators."""
    if hasattr(value, "axis"):
        units = {"tokens": "", "predictions": "pred", "flops": "flop", "seconds": "s"}
        return f"{value.amount:.12g}{units.get(value.axis, value.axis)}"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _settings(settings: Any) -> list[str]:
    if isinstance(settings, str):
        return [settings]
    if isinstance(settings, Mapping):
        return [
            f"{owner}.{name}={value}"
            for owner, values in settings.items()
            for name, value in (values.items() if isinstance(values, Mapping) else ())
        ]
    return [str(item) for item in settings]
