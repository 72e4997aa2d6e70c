"""Removing a run: renamed out of sight first, so that it is whole or gone for every reader."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.errors import BenchError
from bench.records.store import RunRecord
from bench.storage import exclusive


def remove_run(run: RunRecord, out: Path) -> None:
    """Remove a finished run and its scores.

    Args:
        run: The run.
        out: The output root that it belongs to.

    Raises:
        BenchError: It does not lie under the output root, or cannot be removed.
    """
    folder = run.folder.resolve()
    if folder.parent != (out / "runs").resolve():
        raise BenchError(f"{run.folder} is not under {out / 'runs'}; name its folder with --out")
    lock = folder.parent / f".removed-{folder.name}.lock"
    hidden = folder.parent / f".removed-{folder.name}"
    try:
        with exclusive(lock, lambda: None):
            if folder.exists():
                shutil.rmtree(hidden, ignore_errors=True)
                folder.rename(hidden)
            shutil.rmtree(hidden)
        lock.unlink(missing_ok=True)
    except OSError as error:
        raise BenchError(f"{run.folder} cannot be removed ({error.strerror})") from None
