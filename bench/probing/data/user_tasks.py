"""Tasks of one's own: `--task classify:reviews.csv,text=review,label=stars`.

A task is written KIND:FILE and then options, each `,name=value`. Everything up to the first option
is the file, and where such a file exists commas and equals signs belong to its name. The written
form is all that a worker needs, so an engine passes on one string, as for a task known by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.probing.data.user_kinds import Alike, Answer, Classify, FromFile, Pair, Tag

if TYPE_CHECKING:
    from bench.probing.task import Task
    from bench.registry import Registry

_COMMON = ("name", "metric", "split", "group", "seed")


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """What was written after `--task`."""

    kind: str
    path: Path
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the task is called in tables and file names."""
        return self.options.get("name") or safe_name(self.path.name, self.kind)

    def written(self) -> str:
        """The same from any folder."""
        options = {**self.options, "name": self.name}
        written = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        return f"{self.kind}:{self.path.absolute()},{written}"


KINDS: dict[str, type[FromFile]] = {
    "classify": Classify,
    "pair": Pair,
    "tag": Tag,
    "similarity": Alike,
    "qa": Answer,
}


def user_task(written: str) -> type[Task]:
    """The task that `--task` writes down; its file is looked for and not read.

    Raises:
        BenchError: Unknown kind, option or metric; no such file; a name that is none.
    """
    file = parse(written)
    kind = KINDS[file.kind]
    metric = file.options.get("metric", kind.metrics[0])
    if metric not in kind.metrics:
        raise BenchError(
            f"--task {written}: metric {metric!r} is none of {', '.join(kind.metrics)}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", file.name):
        raise BenchError(
            f"--task {written}: the name {file.name!r} must be a-z, 0-9 and _, a letter first, 64 "
            "characters at most"
        )
    if not file.options.get("seed", "0").isdigit():
        raise BenchError(f"--task {written}: seed {file.options['seed']!r} is no whole number")
    facts = {"file": file, "name": file.name, "reference": file.written(), "metric": metric}
    about = {"summary": f"{kind.family}, from a file of the user's", "source": str(file.path)}
    made: type[Task] = type(kind.__name__, (kind,), {**facts, **about, "__module__": __name__})
    return made


def parse(written: str) -> LabelFile:
    """Take `KIND:FILE,option=value,...` apart: as much as names a file is the file.

    Raises:
        BenchError: No such kind, or no such file.
    """
    kind, colon, rest = written.partition(":")
    if kind not in KINDS or not colon or not rest:
        forms = ", ".join(f"{name}:FILE" for name in KINDS)
        if colon:
            raise _unknown("kind of task", kind, KINDS)
        raise BenchError(f"--task {written!r}: write {forms}, then ,column=NAME as needed")
    known = (*KINDS[kind].columns, *_COMMON)
    pieces = re.split(rf",(?=(?:{'|'.join(known)})=)", rest)
    for count in range(len(pieces), 0, -1):
        path = Path(",".join(pieces[:count])).expanduser()
        if path.exists() or count == 1:
            break
    stray = re.search(r",\s*(\w+)=", str(path))
    if not path.exists() and stray:
        raise _unknown(f"option of {kind}", stray[1], known)
    options = dict(piece.split("=", 1) for piece in pieces[count:])
    return LabelFile(kind, path, {key: value for key, value in options.items() if value})


def _unknown(what: str, name: str, known: Collection[str]) -> BenchError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return BenchError(f"--task: no {what} named {name!r}{hint} (there are {', '.join(known)})")


def safe_name(file_name: str, kind: str) -> str:
    """A file's name as a task's: `Ünser Büro (1).csv` becomes `unser_buro_1`.

    What cannot be spelt in a-z, 0-9 and _ is told apart by a hash.
    """
    stem = re.sub(r"\.(csv|tsv|jsonl|parquet)$", "", file_name, flags=re.IGNORECASE)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = name if name[:1].isalpha() else f"{kind}_{name}".strip("_")
    spelt, meant = (sum(map(str.isalnum, text)) for text in (plain, stem))
    if len(name) > 40 or spelt < meant:
        name = f"{name[:40]}_{hashlib.sha256(stem.encode('utf-8', 'replace')).hexdigest()[:6]}"
    return name


def task_class(reference: str, registry: Registry) -> type[Task]:
    """The task behind what a worker was told: a registered name, or a file as it was written."""
    return user_task(reference) if ":" in reference else registry.get("task", reference)


def reference_of(task: type[Task]) -> str:
    """What to tell a worker."""
    return task.reference if issubclass(task, FromFile) else task.name
