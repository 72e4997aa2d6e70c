"""Unfinished runs: checkpoints, and the check that a command resumes only its own work."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.errors import RefusedError, StoppedError
from bench.pretraining.checkpoint import checkpoint_of, checkpoints, save_checkpoint
from bench.pretraining.ledger import Progress
from bench.pretraining.loop import Diverged, Pretraining
from bench.spec import RunSpec
from bench.storage import open_regular, write_atomic

CHECKPOINT_SECONDS = 30.0


def checkpoint_seconds() -> float:
    """Seconds between checkpoints (BENCH_CHECKPOINT_SECONDS; no result depends on it)."""
    try:
        return float(os.environ["BENCH_CHECKPOINT_SECONDS"])
    except (KeyError, ValueError):
        return CHECKPOINT_SECONDS


def train(
    run: Pretraining,
    work: Path,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], BaseException | None],
) -> tuple[str, str | None]:
    """Train with regular checkpoints, and with one before a requested stop.

    Args:
        run: The pretraining, new or restored.
        work: Folder of its checkpoints.
        on_progress: Called after every step.
        should_stop: Called between steps; a returned exception is raised after a checkpoint.

    Returns:
        `finished`, or `diverged` with the reason.
    """
    saved_at = time.monotonic()

    def pause() -> None:
        nonlocal saved_at
        reason = should_stop()
        is_due = time.monotonic() - saved_at > checkpoint_seconds()
        # One rank may be asked alone, and all must stop after the same step.
        is_stopped, is_due = run.ranks.agree(reason is not None, is_due)
        stop = (reason or StoppedError("another rank was stopped")) if is_stopped else None
        if is_stopped or is_due:
            run.settle()
            checkpoint = checkpoint_of(run)
            if run.ranks.is_first:
                save_checkpoint(work, run.ledger.steps, *checkpoint)
            saved_at = time.monotonic()
        if stop is not None:
            raise stop

    try:
        run.train(on_progress, pause)
    except Diverged as diverged:
        return "diverged", str(diverged)
    return "finished", None


def _refuse_other(before: dict[str, Any], spec: RunSpec, work: Path) -> None:
    """Refuse to resume a run that was started from something else.

    Args:
        before: The identity of the run that was started, without threads and version of torch.
        spec: Specification of the run that is to be resumed.
        work: The folder of the unfinished run.

    Raises:
        RefusedError: They differ; the message has both values.
    """
    now = json.loads(json.dumps(spec.identity()))
    del now["torch_version"], now["training"]["threads"]
    names = {
        "corpus_sha256": "the corpus",
        "tokenizer_sha256": "the tokenizer",
        "objective_code": f"the code of objective {spec.objective}",
    }
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key not in names, key)):
        if before.get(key) != now.get(key):
            raise RefusedError(
                f"{names.get(key, key)} changed since this run was started: {before.get(key)} "
                f"before, {now.get(key)} now; restore it to resume, or remove {work} to start over"
            )


def claim(work: Path, spec: RunSpec, allow_inexact: bool, second_corpus: str | None = None) -> bool:
    """Open the folder of an unfinished run; refuse work that was started from something else.

    Args:
        work: The folder; created if it does not exist.
        spec: Specification of the run.
        allow_inexact: Accept another thread count or version of torch.
        second_corpus: Fingerprint of the text of `--forget`, whose loss is part of the curve.

    Returns:
        Whether the run is inexact: its thread count or version of torch changed on the way.

    Raises:
        RefusedError: The run was started from something else, it would not be bit-exact, or the
            folder is damaged.
    """
    identity = spec.identity() | {"is_inexact": False, "second_corpus": second_corpus}
    path = work / "identity.json"
    if not checkpoints(work):  # no checkpoint exists, so changed plugin code is accepted
        work.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(identity).encode())
        return False
    try:
        with open_regular(path) as file:
            before = json.loads(file.read())
        was_inexact, training = before.pop("is_inexact"), dict(before["training"])
        threads, measured = training.pop("threads"), before.pop("second_corpus", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RefusedError(f"{path} is damaged; remove {work} to start over") from None
    changes = {
        "torch version": (before.pop("torch_version", None), spec.torch_version),
        "thread count": (threads, spec.training.threads),
    }
    _refuse_other(before | {"training": training}, spec, work)
    for name, (old, new) in changes.items():
        if old != new and not allow_inexact:
            raise RefusedError(
                f"not bit-exact: {name} was {old} when this run was started and is {new} now; "
                f"restore it, resume with --allow-inexact, or remove {work} to start over"
            )
    if measured != second_corpus:
        raise RefusedError(
            f"--forget changed since this run was started: {measured} before, {second_corpus} now; "
            f"give the same file to resume, or remove {work} to start over"
        )
    is_inexact = bool(was_inexact) or any(old != new for old, new in changes.values())
    write_atomic(path, json.dumps(identity | {"is_inexact": is_inexact}).encode())
    return is_inexact
