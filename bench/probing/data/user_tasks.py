"""Tasks of a user: `--task classify:reviews.csv,text=review,label=stars`.

The argument is KIND:FILE, followed by options, each `,name=value`. Everything before the first
option is the file name, and where such a file exists, commas and equals signs are part of its name.
The argument is all that a worker needs, so an engine passes on one string, as for a task known by
name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.probing.data.user_answers import AnswerFile
from bench.probing.data.user_bias import BiasFile
from bench.probing.data.user_files import LabelFile
from bench.probing.data.user_kinds import UserTask
from bench.probing.data.user_labels import (
    ClassificationFile,
    ClusteringFile,
    MultilabelFile,
    PairFile,
    ScoreFile,
    SimilarityFile,
)
from bench.probing.data.user_search import (
    SearchFiles,
    documents_first,
)
from bench.probing.data.user_tags import TaggingFile
from bench.settings import whole_number

if TYPE_CHECKING:
    from bench.probing.task import Task
    from bench.registry import Registry

KINDS: dict[str, type[UserTask]] = {
    "classify": ClassificationFile,
    "multilabel": MultilabelFile,
    "score": ScoreFile,
    "pair": PairFile,
    "tag": TaggingFile,
    "similarity": SimilarityFile,
    "qa": AnswerFile,
    "cluster": ClusteringFile,
    "retrieve": SearchFiles,
    "bias": BiasFile,
}


def user_task(argument: str) -> type[Task]:
    """The task of a `--task` argument; its file must exist and is not read.

    Raises:
        BenchError: Unknown kind, option or metric; no such file; an invalid name.
    """
    file = parse(argument)
    kind = KINDS[file.kind]
    metric = file.options.get("metric", kind.metrics[0])
    if metric not in kind.metrics:
        raise BenchError(
            f"--task {argument}: the metric {metric!r} is unknown; choose one of "
            f"{', '.join(kind.metrics)}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", file.name):
        raise BenchError(
            f"--task {argument}: the name {file.name!r} must have at most 64 characters, only a-z, "
            "0-9 and _, and begin with a letter; set it with ,name=NAME"
        )
    if whole_number(file.options.get("seed", "0")) is None:
        raise BenchError(
            f"--task {argument}: the seed {file.options['seed'][:40]!r} is not a whole number of "
            "up to 18 digits"
        )
    reference = _moved(file, Path.absolute).argument()
    facts = {"file": file, "name": file.name, "reference": reference, "metric": metric}
    about = {"summary": f"{kind.family}, from a file of the user's", "source": str(file.path)}
    cls: type[Task] = type(kind.__name__, (kind,), {**facts, **about, "__module__": __name__})
    return cls


def parse(argument: str, base: Path = Path()) -> LabelFile:
    """Parse `KIND:FILE,option=value,...`; the longest part that names a file is the file.

    Args:
        argument: The text.
        base: The folder that a relative path begins at.

    Raises:
        BenchError: No such kind, or no such file.
    """
    kind, colon, rest = argument.partition(":")
    if kind not in KINDS or not colon or not rest:
        forms = ", ".join(f"{name}:FILE" for name in KINDS)
        if colon:
            raise _unknown("kind of task", kind, KINDS)
        raise BenchError(f"--task {argument!r}: write {forms}, then ,column=NAME as needed")
    known = (*KINDS[kind].columns, *KINDS[kind].options)
    pieces = re.split(rf",(?=(?:{'|'.join(known)})=)", rest)
    if issubclass(KINDS[kind], SearchFiles):
        pieces = documents_first(pieces)
    for count in range(len(pieces), 0, -1):
        path = base / Path(",".join(pieces[:count])).expanduser()
        if os.path.exists(path) or count == 1:  # also False for a name that is too long
            break
    stray = re.search(r",\s*(\w+)=", str(path))
    if not os.path.exists(path) and stray:
        raise _unknown(f"option of {kind}", stray[1], known)
    options = dict(piece.split("=", 1) for piece in pieces[count:])
    options = {key: value for key, value in options.items() if value}
    for key in KINDS[kind].file_options:
        if key in options:
            options[key] = str(base / Path(options[key]).expanduser())
    return LabelFile(kind, path, options)


def _moved(file: LabelFile, move: Callable[[Path], Path]) -> LabelFile:
    names = KINDS[file.kind].file_options
    options = {
        key: str(move(Path(value))) if key in names else value
        for key, value in file.options.items()
    }
    return LabelFile(file.kind, move(file.path), options)


def _unknown(role: str, name: str, known: Collection[str]) -> BenchError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return BenchError(f"--task: no {role} named {name!r}{hint} (known: {', '.join(known)})")


def task_class(reference: str, registry: Registry) -> type[Task]:
    """The task of a worker's reference: a registered name, or a `--task` argument."""
    return user_task(reference) if ":" in reference else registry.get("task", reference)


def moved_reference(reference: str, base: Path, move: Callable[[Path], Path]) -> str:
    """A worker's reference with other paths.

    Args:
        reference: A registered name, or a `--task` argument.
        base: The folder that its relative paths begin at.
        move: Gives the new path of a file.

    Raises:
        BenchError: The file does not exist.
    """
    if ":" not in reference:
        return reference
    return _moved(parse(reference, base), move).argument()


def reference_of(task: type[Task]) -> str:
    """The reference by which a worker finds a task."""
    return task.reference if issubclass(task, UserTask) else task.name
