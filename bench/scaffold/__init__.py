"""`bench new`: an installable package with a working objective or task.

The templates lie beside this file, under the paths that they are written to (`package` is replaced
by the name). The name must be valid as a Python module, as a distribution and on the command line,
so a name that any of these already uses is refused before a file is written.
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
from bench.sizes import SIZES
from bench.storage import new_folder

Kind = Literal["objective", "task"]

_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".template"
_NAME = re.compile(r"[a-z](_?[a-z0-9]){1,39}")
_RESERVED = {"all", "none", "bench", "encoder", "training", "objective", "task", "test", "tests"}


def scaffold(kind: Kind, name: str, parent: Path, registry: Registry) -> Path:
    """Write a package into a new folder and return the folder.

    Args:
        kind: The kind of plugin that the package provides.
        name: The name of the package, its module and its plugin; `-` and `_` are equivalent.
        parent: The folder in which the package's folder is made.
        registry: The installed plugins, whose names are taken.

    Raises:
        BenchError: The name is invalid or taken, or the folder cannot be made.
    """
    name = checked_name(kind, name, registry)
    folder = parent / name
    if not parent.is_dir():
        raise BenchError(f"--dir {parent}: no such folder (looked up from {Path.cwd()})")
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
    """The name as a Python identifier.

    Raises:
        BenchError: The name is invalid, or something has it already; names that.
    """
    python_name = name.replace("-", "_")
    if not _NAME.fullmatch(python_name):
        raise BenchError(
            f"{name!r} is not a valid name: write 2 to 40 of a-z, 0-9, single _, a letter first, "
            "as my_objective"
        )
    if reason := _taken(python_name, registry):
        raise BenchError(
            f"{python_name!r} cannot be the name of {_article(kind)}: {reason}; choose another name"
        )
    return python_name


def _taken(name: str, registry: Registry) -> str | None:
    """The thing that already has the name; None where it is free."""
    if name in _RESERVED or name in SIZES:
        return "it has another meaning on the command line of bench"
    for plugin in registry.plugins:
        if plugin.name == name:
            taken_by = "plugin" if plugin.kind is None else plugin.kind
            return f"{_article(taken_by)} of that name exists, from {plugin.provider}"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "it is a keyword of Python"
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        return "a Python module of that name is installed, and one of the two would hide the other"
    try:
        installed = version(name.replace("_", "-"))
    except PackageNotFoundError:
        return None
    return f"a package of that name is installed ({installed}), and the new one would replace it"


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "objective" else f"a {kind}"


def _write(source: Path, folder: Path, values: dict[str, str]) -> None:
    """Fill in every template below `source` and write it to its place below `folder`."""
    for template in sorted(source.rglob(f"*{_SUFFIX}")):
        place = str(template.relative_to(source)).removesuffix(_SUFFIX)
        path = folder / place.replace("package", values["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template(template.read_text(encoding="utf-8")).substitute(values)
        path.write_text(text, encoding="utf-8")
