"""Records on disk verified: every run with its weights, its scores with their outcomes, baselines.

A comparison hashes what it reads; the weights of a run, which no table needs, are hashed here too.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, RefusedError
from bench.records.scores import ScoreRecord, read_baselines
from bench.records.store import read_whole_run, selected_folders
from bench.storage import MANIFEST


@dataclasses.dataclass
class Verified:
    """The numbers of records that are as they were written, and a sentence for each other one."""

    where: str
    runs: int = 0
    scores: int = 0
    baselines: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        counts = f"runs {self.runs}, scores {self.scores}, scores of baselines {self.baselines}"
        return f"{self.where}: as they were written: {counts}"


def names_records(name: str, out: Path) -> bool:
    """Whether a name is that of a folder, or the beginning of a run's id under an output root."""
    runs = selected_folders(out, damaged=[])
    return bool(name) and (os.path.isdir(name) or any(f.name.startswith(name) for f in runs))


def verify_records(name: str, out: Path) -> Verified:
    """Verify the records of a folder, or those of runs.

    Args:
        name: An output root, the folder of a run, or the beginning of run ids.
        out: The output root of the ids.

    Raises:
        BenchError: There are no records.
    """
    verified, root = Verified(name), Path(name)
    is_root = root.is_dir() and not (root / MANIFEST).is_file()
    if is_root and not any((root / part).is_dir() for part in ("runs", "baselines")):
        raise BenchError(
            f"{name} has no records, because it has no folder `runs`; name a folder that was given "
            "to bench run --out, a run, an objective or a task"
        )
    source, selection = (root, []) if is_root else (out, [name])
    folders = selected_folders(source, selection, verified.problems)
    for folder in folders:
        try:
            run = read_whole_run(folder, verified.problems)
        except RefusedError as error:
            verified.problems.append(str(error))
            continue
        verified.runs += 1
        verified.scores += _whole(run.scores, verified.problems)
    if is_root:
        verified.baselines = _whole(read_baselines(root, verified.problems), verified.problems)
    return verified


def _whole(scores: Sequence[ScoreRecord], problems: list[str]) -> int:
    """The number of scores whose outcomes are those they were computed from."""
    number = 0
    for score in scores:
        try:
            score.payload()
            number += 1
        except RefusedError as error:
            problems.append(str(error))
    return number
