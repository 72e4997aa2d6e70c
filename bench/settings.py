"""Settings as frozen, validated, self-describing dataclasses.

An objective or a probe *is* its settings: its fields are the knobs, and the string under a field is
its help text. `--set`, `bench describe` and the run id all use the same class.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from bench.errors import BenchError, unknown_name

T = TypeVar("T")

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(ge=1)]

_CONFIG = ConfigDict(extra="forbid", validate_default=True)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen, keyword-only, validated dataclass.

    A plain dataclass would accept `rate=7`; this one raises an error when it is created.

    Examples:
        >>> from typing import ClassVar
        >>> import bench
        >>> @bench.settings
        ... class EveryOther(bench.MaskedObjective):
        ...     name: ClassVar[str] = "every_other"
        ...     summary: ClassVar[str] = "hides every other token"
        ...     source: ClassVar[str] = "an example"
        ...     start: int = 0
        ...     def choose(self, batch, noise):
        ...         return batch.real & (batch.real.cumsum(1) % 2 == self.start)
        >>> EveryOther(start=1).display_name
        'every_other[start=1]'
    """
    return pydantic_dataclass(frozen=True, kw_only=True, config=_CONFIG)(cls)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Knob:
    """One field of a settings class, as users see it."""

    name: str
    kind: str
    default: Any
    help: str


def knobs(cls: type) -> list[Knob]:
    """The fields of a settings class with type, default and help text."""
    properties = TypeAdapter(cls).json_schema().get("properties", {})
    help_texts: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        help_texts |= _field_docs(ancestor)
    return [
        Knob(
            field.name,
            _kind(properties.get(field.name, {})),
            properties.get(field.name, {}).get("default"),
            help_texts.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    ]


@functools.cache
def _field_docs(cls: type) -> dict[str, str]:
    """The string under each field of one class, from the source of its module.

    pydantic has `use_attribute_docstrings` for this, but it searches every loaded module for the
    source, and so would import torch for `bench list`.
    """
    tree = _module_tree(cls.__module__)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            pairs = zip(node.body, node.body[1:], strict=False)
            return {
                field.target.id: " ".join(str(text.value.value).split())
                for field, text in pairs
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            }
    return {}


def _module_tree(module: str) -> ast.Module | None:
    """The syntax tree of a module; None in an interactive session."""
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        return ast.parse(Path(path).read_bytes()) if path else None
    except (OSError, SyntaxError):
        return None


def _helpers_of(module: str) -> list[str]:
    """The modules of a plugin's own package, or folder, that a module imports, and theirs."""
    helpers, waiting = {module: None}, [module]
    while waiting:
        current = waiting.pop()
        package = getattr(sys.modules.get(current), "__package__", None) or ""
        tree = _module_tree(current)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(
                    [*parents, node.module or ""] if node.level else [node.module or ""]
                )
                names = [base.strip("."), *(f"{base.strip('.')}.{one.name}" for one in node.names)]
            else:
                continue
            for name in names:
                if name not in helpers and _is_beside(name, module):
                    helpers[name] = None
                    waiting.append(name)
    return sorted(helpers)


def _is_beside(name: str, module: str) -> bool:
    """Whether a loaded module belongs to the same package, or to the folder of a single file."""
    files = [getattr(sys.modules.get(one), "__file__", None) for one in (name, module)]
    if None in files:
        return False
    if name.partition(".")[0] == module.partition(".")[0]:
        return True
    folders = [Path(str(file)).parent for file in files]
    return folders[0] == folders[1] and folders[0].name not in ("site-packages", "dist-packages")


def _kind(schema: Mapping[str, Any]) -> str:
    """The valid values of a field in a few characters: `number 0..1`, `a|b`."""
    if "enum" in schema:
        return "|".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
    kind = str(schema.get("type", schema.get("const", "")))
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return kind
    return f"{kind} {'' if low is None else low}..{'' if high is None else high}"


def as_mapping(value: Any) -> dict[str, Any]:
    """A settings object as plain JSON values."""
    plain: dict[str, Any] = TypeAdapter(type(value)).dump_python(value, mode="json")
    return plain


def from_mapping(cls: type[T], values: Mapping[str, Any], owner: str) -> T:
    """Build settings from plain values (strings are converted to the field's type).

    Args:
        cls: A class made by `settings`.
        values: Field name to value.
        owner: Owner of the settings ("span", "training"), for messages.

    Raises:
        BenchError: An unknown field, or a value out of range; the message names field and value.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise unknown_name(f"setting of {owner}", name, names, f"bench describe {owner}")
        _refuse_huge(values[name], f"{owner}.{name}")
    values = {name: _listed(cls, name, value) for name, value in values.items()}
    try:
        return cls(**values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (owner, *first["loc"]))
        got = "" if first["type"] == "value_error" else f" (got {first['input']!r})"
        raise BenchError(
            f"{where}: {first['msg']}{got}; bench describe {owner} shows every setting"
        ) from None


def changed(value: T, overrides: Mapping[str, Any], owner: str) -> T:
    """The settings with those overrides that name a field of theirs.

    Raises:
        BenchError: A value is out of range.
    """
    names = {field.name for field in dataclasses.fields(value)}  # type: ignore[arg-type]
    own = {name: each for name, each in overrides.items() if name in names}
    return from_mapping(type(value), as_mapping(value) | own, owner) if own else value


def whole_number(text: object) -> int | None:
    """The number that up to 18 of the digits 0 to 9 write; None for any other text.

    `str.isdigit` is true for "²", which `int` refuses, and `int` refuses 5,000 digits.
    """
    return int(str(text)) if re.fullmatch("[0-9]{1,18}", str(text)) else None


def texts(argument: str, value: Any) -> list[str]:
    """The texts or paths of an argument that takes one or several.

    Args:
        argument: Its name, for the message.
        value: One text or path, several, or None.

    Raises:
        BenchError: It is something else.
    """
    many = [value] if isinstance(value, str | os.PathLike) else [] if value is None else value
    if not isinstance(many, Iterable) or isinstance(many, bytes | Mapping):
        raise BenchError(f"{argument}: give a text or a list of texts, got {value!r}")
    listed = list(many)
    wrong = [one for one in listed if not isinstance(one, str | os.PathLike)]
    if wrong:
        raise BenchError(f"{argument}: give a text or a list of texts, got {wrong[0]!r} in it")
    return [os.fspath(one) for one in listed]


def _refuse_huge(value: Any, where: str) -> None:
    """Refuse whole numbers that no float can be as large as.

    Raises:
        BenchError: The number has more than 18 digits.
    """
    digits = re.fullmatch(r"\s*[+-]?([0-9_]{19,})\s*", value) if isinstance(value, str) else None
    if digits or (isinstance(value, int) and abs(value) >= 10**18):
        raise BenchError(f"{where}: a whole number may have up to 18 digits; give a smaller one")


def _listed(cls: type, name: str, value: Any) -> Any:
    """Text for a field that is a list, as `0.1,1`, becomes a list."""
    default = next(f.default for f in dataclasses.fields(cls) if f.name == name)
    if isinstance(value, str) and isinstance(default, tuple):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def canonical_json(value: Any) -> str:
    """The canonical JSON text of a value: sorted keys, no spaces, finite numbers only."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def sha256_json(value: Any) -> str:
    """The sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def code_sha256(classes: Iterable[type]) -> str:
    """A sha256 of the code of the modules that define the classes, without comments.

    It is part of a run's identity: after an edit of `objectives/mine.py` the same command makes a
    new run and does not reuse the earlier result. Comments and docstrings are ignored, as they do
    not change the behaviour. Of a plugin, the modules of its own package that it imports count too.
    """
    digest = hashlib.sha256()
    modules = {cls.__module__: repr(cls) for cls in classes}
    for name in [name for name in modules if not name.startswith("bench.")]:
        for helper in _helpers_of(name):
            modules.setdefault(helper, helper)
    for module, name in modules.items():
        tree = _module_tree(module)
        if tree is None:  # interactive session: only the name is known
            digest.update(name.encode())
            continue
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [  # type: ignore[attr-defined]
                    part
                    for part in body
                    if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
                ]
        digest.update(ast.unparse(ast.fix_missing_locations(tree)).encode())
    return digest.hexdigest()
