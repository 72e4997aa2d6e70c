"""Label files of a user: the argument of `--task`, the files of a path, and a new split.

A file without a test part is divided here. Rows that belong together (one author, one passage, or
the same text twice) stay together, so the division itself leaks nothing. A hash of the unit, not
its place, decides its part: the same rows in another order are divided in the same way.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.probing.data.label_files.formats import FORMATS

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

TEST_SHARE = 0.2
FILE_STEMS = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("validation", "valid", "val", "dev"),
}
"""The names of a folder's files, without their endings."""
_ENDING = re.compile("|".join(f"\\{ending}$" for ending in FORMATS), re.IGNORECASE)


@dataclass(frozen=True)
class LabelFile:
    """The argument of `--task`."""

    kind: str
    path: Path
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the task in tables and file names."""
        return self.options.get("name") or safe_name(self.path.name, self.kind)

    def argument(self) -> str:
        """The argument of `--task`."""
        options = {**self.options, "name": self.name}
        pairs = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
        return f"{self.kind}:{self.path},{pairs}"


def safe_name(file_name: str, kind: str) -> str:
    """The name of a task from the name of its file: `Ünser Büro (1).csv` becomes `unser_buro_1`.

    Names with letters outside a-z and 0-9, and long names, get a hash to stay distinct.
    """
    stem = _ENDING.sub("", file_name)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = name if name[:1].isalpha() else f"{kind}_{name}".strip("_")
    num_plain, num_original = (sum(map(str.isalnum, text)) for text in (plain, stem))
    if len(name) > 40 or num_plain < num_original:
        name = f"{name[:40]}_{hashlib.sha256(stem.encode('utf-8', 'replace')).hexdigest()[:6]}"
    return name


def find_splits(path: Path) -> dict[str, Path]:
    """The files of a path: the file itself, or a folder's train, test and validation.

    Returns:
        `{"": path}` for a file; for a folder `train` with `test`, `validation` or both.

    Raises:
        BenchError: No such file, another format, or a folder without both parts.
    """
    if path.is_dir():
        files_here = [file for file in sorted(path.iterdir()) if file.suffix.lower() in FORMATS]
        known = {file.name.lower(): file for file in files_here}
        files: dict[str, Path] = {}
        for part, stems in FILE_STEMS.items():
            names = [f"{stem}{suffix}" for stem in stems for suffix in FORMATS]
            present = [known[name] for name in names if name in known]
            if len(present) > 1:
                raise BenchError(
                    f"the folder {path} has several {part} parts: "
                    f"{', '.join(file.name for file in present)}; leave one of them in the folder"
                )
            files |= dict.fromkeys([part], present[0]) if present else {}
        for part in ("train", "test"):
            if part not in files and not (part == "test" and "validation" in files):
                raise BenchError(
                    f"the folder {path} has no {part} part: add {part}.csv or another of "
                    f"{' '.join(FORMATS)}; it has {list(known) or 'no file of these formats'}"
                )
        return files
    if not path.exists():
        raise BenchError(
            f"--task: there is no file or folder {str(path)!r} (current folder: {Path.cwd()})"
        )
    if not path.is_file():
        raise BenchError(f"{path} is not a regular file (a pipe or a device?); copy it to a file")
    if path.suffix.lower() not in FORMATS:
        raise BenchError(
            f"{path} has an unknown format; the known formats are {' '.join(FORMATS)}"
            " (.conll: a word and its label on each line)"
        )
    return {"": path}


def rows_to_test(
    units: Sequence[str], strata: Sequence[str], share: float = TEST_SHARE, seed: int = 0
) -> Bool[np.ndarray, " N"]:
    """A mask of the rows of the test part: whole units, about `share` of each stratum's rows.

    Args:
        units: The unit of each row.
        strata: The stratum of each row, equally frequent in both parts; the first row of a unit
            gives the unit's stratum. A stratum of one unit goes to train.
        share: Share of each stratum's rows.
        seed: Another seed gives another choice.
    """
    import numpy as np

    sizes: dict[str, int] = {}
    of_stratum: dict[str, list[str]] = {}
    for unit, stratum in zip(units, strata, strict=True):
        if unit not in sizes:
            of_stratum.setdefault(stratum, []).append(unit)
        sizes[unit] = sizes.get(unit, 0) + 1
    chosen: set[str] = set()
    for members in of_stratum.values():
        chosen |= _choice(members, sizes, share, seed)
    return np.array([unit in chosen for unit in units], dtype=bool)


def _choice(members: list[str], sizes: dict[str, int], share: float, seed: int) -> set[str]:
    """Units of one stratum in the order of their hashes, as long as they fit the share."""
    if len(members) < 2:
        return set()
    members = sorted(members, key=lambda unit: _hash(unit, seed))
    target, count, chosen = share * sum(sizes[unit] for unit in members), 0.0, set()
    for unit in members:
        if count + sizes[unit] / 2 <= target:
            chosen.add(unit)
            count += sizes[unit]
    return chosen


def _hash(unit: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{unit}".encode("utf-8", "surrogatepass")).digest()
