"""`bench new`: an installable package with an objective or a task in it that works as it stands.

The templates lie beside this file, under the paths they are written to (`package` is replaced by
the name). A name must do as Python module, distribution and name on the command line at once, so
one that anything of these already has is refused before a file is written.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import Literal

import bench
from bench.errors import BenchError
from bench.registry import Registry
from bench.spec import SIZES
from bench.storage import new_folder

Kind = Literal["objective", "task"]

_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".template"
_NAME = re.compile(r"[a-z](_?[a-z0-9]){1,39}")
_OURS = {"all", "none", "bench", "encoder", "training", "objective", "task", "test", "tests"}


def scaffold(kind: Kind, name: str, parent: Path, registry: Registry) -> Path:
    """Write a package into a new folder and return it.

    Args:
        kind: What it provides.
        name: Of the package, its module, and what it provides; `-` and `_` are the same.
        parent: The folder to make it in.
        registry: What there is already.

    Raises:
        BenchError: The name is no good or taken, or the folder cannot be made.
    """
    name = checked_name(kind, name, registry)
    folder = parent / name
    if not parent.is_dir():
        raise BenchError(f"--dir {parent}: no such folder (seen from {Path.cwd()})")
    if os.path.lexists(folder):
        raise BenchError(f"{folder} exists already; choose another name, or another --dir")
    values = {
        "name": name,
        "kind": kind,
        "article": "An" if kind == "objective" else "A",
        "class_name": "".join(part.capitalize() for part in name.split("_")) + kind.capitalize(),
        "distribution": name.replace("_", "-"),
        "version": bench.__version__,
    }
    try:
        with new_folder(folder) as building:
            for source in (_TEMPLATES / "both", _TEMPLATES / kind):
                _write(source, building, values)
    except OSError as error:
        raise BenchError(f"--dir {parent} cannot be written ({error.strerror})") from None
    return folder


def checked_name(kind: Kind, name: str, registry: Registry) -> str:
    """The name as Python spells it.

    Raises:
        BenchError: It is no name, or something has it already; says what.
    """
    spelt = name.replace("-", "_")
    if not _NAME.fullmatch(spelt):
        raise BenchError(
            f"{name!r} will not do as a name: 2 to 40 of a-z, 0-9 and single _ are wanted, a "
            "letter first (my_objective)"
        )
    if reason := _taken(spelt, registry):
        raise BenchError(f"{spelt!r} will not do as the name of {_article(kind)}: {reason}")
    return spelt


def _taken(name: str, registry: Registry) -> str | None:
    """What has the name already."""
    if name in _OURS or name in SIZES:
        return "it means something else on bench's command line"
    for entry in registry.entries:
        if entry.name == name:
            what = "plugin" if entry.kind is None else entry.kind
            return f"there is {_article(what)} of that name, from {entry.provider}"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a keyword of Python"
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        return "a Python module of that name is installed, and one would hide the other"
    try:
        found = version(name.replace("_", "-"))
    except PackageNotFoundError:
        return None
    return f"a package of that name is installed ({found}), and this one would replace it"


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "objective" else f"a {kind}"


def _write(source: Path, folder: Path, values: dict[str, str]) -> None:
    """Every template below `source`, filled in, at its place below `folder`."""
    for template in sorted(source.rglob(f"*{_SUFFIX}")):
        place = str(template.relative_to(source)).removesuffix(_SUFFIX)
        path = folder / place.replace("package", values["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(values)
        path.write_text(text, encoding="utf-8")
