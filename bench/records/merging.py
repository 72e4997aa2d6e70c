"""Merging records: runs, scores and baselines of several folders or machines into one folder.

Every file is verified before and after it is copied, and a copy appears complete or not at all. A
record that lies in several folders is copied once if all copies are equal: the same weights and the
same run.json, or the same score. Seconds, speed, versions and hardware do not count, because they
differ where one run was done twice. Copies that differ are a conflict. None of them is copied,
because the result must not depend on the order of the folders. The sources are never changed, and
a record that is already in the target stays.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, RefusedError
from bench.records.files import read_bytes, refuse_outside
from bench.records.schema import RUN_ID
from bench.records.scores import ScoreRecord, read_baselines
from bench.records.store import make_store, read_whole_run
from bench.storage import (
    MANIFEST,
    new_folder,
    read_manifest,
    sweep_leftovers,
    verify_manifest,
    write_atomic,
)

_TIMED_FILES = ("run.json", "curve.parquet")
"""Files of a run with durations; the keys of run.json are compared instead."""
_MEASURED = {
    "seconds",
    "tokens_per_second",
    "hardware",
    "versions",
    "git_commit",
    "options",
    "sha256",
}


@dataclasses.dataclass
class Merged:
    """The records that a merge copied, and those that it left out."""

    copied: Counter[str] = dataclasses.field(default_factory=Counter)
    """Number of copied records by kind: runs, scores, baselines."""
    equal: int = 0
    """Number of copies that are equal to a record in the target or in an earlier folder."""
    problems: list[str] = dataclasses.field(default_factory=list)
    """A sentence for each conflict and each damaged record."""


@dataclasses.dataclass(frozen=True)
class _Copy:
    """One record in one folder."""

    kind: str
    path: Path
    place: str
    """Its path below the output root."""
    proof: Mapping[str, Any]
    """The values that two equal copies have in common, by name."""
    write: Callable[[Path], None]
    """Write the record to a path."""
    owner: str | None = None
    """The place of the run that a score belongs to."""


def merge(sources: Sequence[Path], out: Path) -> Merged:
    """Merge the records of several folders into one.

    Args:
        sources: Output roots, with `runs` or `baselines` in them. Earlier ones come first.
        out: The output root to write to. It may have records, and may be one of the sources.

    Raises:
        BenchError: A source has no records, or `out` cannot be written.
        FailedError: The disk is full; records that were copied before are complete.
    """
    for source in sources:
        if not any((source / part).is_dir() for part in ("runs", "baselines")):
            raise BenchError(
                f"{source} has no records, because it has no folder `runs`; name folders that were "
                "given to bench run --out"
            )
    sweep_leftovers(make_store(out))
    merged, copies = Merged(), dict[str, list[_Copy]]()
    roots = {root.resolve(): root for root in (out, *sources)}
    for root in roots.values():
        for copy in _copies(root, merged.problems):
            copies.setdefault(copy.place, []).append(copy)
    conflicts: set[str | None] = set()
    for place, (first, *others) in copies.items():
        different = [other for other in others if other.proof != first.proof]
        if first.owner in conflicts:
            continue
        if different:
            conflicts.add(place)
            merged.problems.append(_conflict(first, different[0]))
            continue
        merged.equal += len(others)
        if not (out / place).exists():
            first.write(out / place)
            merged.copied[first.kind] += 1
        elif first.path != out / place:  # a problem has named the damaged record in the target
            conflicts.add(place)
    return merged


def _conflict(one: _Copy, other: _Copy) -> str:
    names = sorted(
        name
        for name in one.proof.keys() | other.proof.keys()
        if one.proof.get(name) != other.proof.get(name)
    )
    return (
        f"{one.path} and {other.path} have one name and different contents "
        f"({', '.join(names)}); remove one of the two and repeat the command"
    )


def _copies(root: Path, problems: list[str]) -> Iterator[_Copy]:
    """The verified records of an output root: each run before its scores, then the baselines."""
    runs = root / "runs"
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if not re.fullmatch(RUN_ID, folder.name) or not (folder / MANIFEST).is_file():
            continue
        try:
            refuse_outside(folder, root)
            yield from list(_run_copies(folder, problems))
        except RefusedError as error:
            problems.append(str(error))
    yield from _score_copies(read_baselines(root, problems), root, "baselines", problems)


def _run_copies(folder: Path, problems: list[str]) -> Iterator[_Copy]:
    run, files = read_whole_run(folder, problems), read_manifest(folder)["files"]
    weights = {name: facts for name, facts in files.items() if name not in _TIMED_FILES}
    place = f"runs/{folder.name}"

    def write(target: Path) -> None:
        with new_folder(target) as new:
            for name in (*files, MANIFEST):
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, new / name)
            verify_manifest(new)

    yield _Copy("runs", folder, place, weights | _unmeasured(run.data), write)
    yield from _score_copies(run.scores, folder.parent.parent, "scores", problems, place)


def _score_copies(
    scores: Iterable[ScoreRecord],
    root: Path,
    kind: str,
    problems: list[str],
    owner: str | None = None,
) -> Iterator[_Copy]:
    for score in scores:
        try:
            yield _score_copy(score, root, kind, owner)
        except RefusedError as error:
            problems.append(str(error))


def _score_copy(score: ScoreRecord, root: Path, kind: str, owner: str | None = None) -> _Copy:
    score.payload()  # verified with all others, before anything is written

    def write(target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        outcomes = score.payload()
        if outcomes is not None:
            write_atomic(target.with_suffix(".parquet"), outcomes)
        write_atomic(target, read_bytes(score.path, score.folder))

    place = score.path.relative_to(root).as_posix()
    return _Copy(kind, score.path, place, _unmeasured(score.data), write, owner)


def _unmeasured(data: Mapping[str, Any]) -> dict[str, Any]:
    """A record without durations and the machine they were measured on."""
    return {
        key: _unmeasured(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if key not in _MEASURED
    }
