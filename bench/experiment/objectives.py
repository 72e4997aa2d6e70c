"""Objectives from names, classes, instances, and text that lists variants.

    span(rate=0.15|0.3|0.4)     three objectives that differ in the rate alone

The text of one objective is the grammar that `mixture` reads as well; `|` separates the values of a
setting, and several such settings give all their combinations.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.settings import as_mapping, from_mapping

if TYPE_CHECKING:
    from bench.pretraining.objective import Objective
    from bench.registry import Registry
    from bench.spec import EncoderShape, Overrides, Training

UNTRAINED = "untrained"
"""The baseline of zero steps that stands in every table."""

_NAMED = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\((.*)\))?\s*", re.DOTALL)


def refuse_lone_rows(
    objectives: Iterable[Objective], shape: EncoderShape, training: Training
) -> None:
    """Refuse steps of one row for an objective that compares the rows of a step.

    Raises:
        BenchError: Such an objective has nothing to compare a row with.
    """
    if training.batch_tokens // shape.max_length > 1:
        return
    for objective in objectives:
        if objective.rows_together > 1:
            raise BenchError(
                f"{objective.name!r} compares the rows of a step, and training.batch_tokens "
                f"{training.batch_tokens} is one row of encoder.max_length {shape.max_length}; "
                f"give --set training.batch_tokens={2 * shape.max_length} or more"
            )


def read_objectives(
    objectives: Any, overrides: Overrides, registry: Registry
) -> dict[str, Objective]:
    """The objectives by display name, with the untrained baseline.

    Args:
        objectives: Names (`all` for every one), text as above, classes, instances, or a list of
            these.
        overrides: Settings by owner; those of an objective's name apply to all its variants.
        registry: The installed objectives.

    Raises:
        BenchError: An unknown name or setting, or an objective that no worker could load.
    """
    listed = _flattened(objectives)
    if not listed:
        raise BenchError("name an objective, for example span (bench list objectives shows all)")
    every = [*registry.of("objective")]
    listed = [one for item in listed for one in (every if item == "all" else [item])]
    instances: dict[str, Objective] = {}
    for item in [*listed, UNTRAINED]:
        for objective in _instances(item, overrides, registry):
            instances.setdefault(objective.display_name, objective)
    owners = [
        "encoder",
        "training",
        "probe",
        "finetune",
        "contrastive",
        *dict.fromkeys(one.name for one in instances.values()),
    ]
    for owner in overrides:
        if owner not in owners:
            raise BenchError(
                f"--set {owner}.…: nothing in this command is named {owner!r}; its settings belong "
                f"to {', '.join(owners)}"
            )
    return instances


def variants(
    objective: str | type[Objective], registry: Registry, **settings: Any
) -> list[Objective]:
    """All combinations of some values of an objective's settings.

    Args:
        objective: A name or a class.
        registry: The installed objectives.
        settings: For each setting one value, or a list of values.

    Raises:
        BenchError: An unknown name or setting, or a value out of range.
    """
    cls = registry.get("objective", objective) if isinstance(objective, str) else objective
    if not isinstance(cls, type):
        raise BenchError(f"give the name or the class of an objective, got {objective!r}")
    _check_loadable(cls, registry)
    values = {
        name: [*value] if isinstance(value, list | tuple | range) else [value]
        for name, value in settings.items()
    }
    empty = [name for name, several in values.items() if not several]
    if empty:
        raise BenchError(f"{cls.name}: {empty[0]} has no value; give one value or a list of values")
    return [
        from_mapping(cls, dict(zip(values, combination, strict=True)), cls.name)
        for combination in itertools.product(*values.values())
    ]


def own_classes(objective: Objective) -> list[type]:
    """The objective's class and its ancestors, without the classes of `bench.pretraining`.

    The code of these classes is part of a run's identity; `RECIPE` stands for all other code.
    """
    own = [
        ancestor
        for ancestor in type(objective).__mro__
        if not ancestor.__module__.startswith(("bench.pretraining.", "builtins", "abc"))
    ]
    return own + [cls for part in objective.ingredients() for cls in own_classes(part)]


def _flattened(objectives: Any) -> list[Any]:
    """Every item of nested lists; text is split at commas outside parentheses."""
    if isinstance(objectives, str):
        parts = (part.strip() for part in _split(objectives, ","))
        return [part for part in parts if part]
    if isinstance(objectives, Iterable):
        return [item for one in objectives for item in _flattened(one)]
    return [objectives]


def _instances(item: Any, overrides: Overrides, registry: Registry) -> Iterator[Objective]:
    from bench.pretraining.objective import Objective

    if isinstance(item, str):
        yield from _from_text(item, overrides, registry)
        return
    cls = item if inspect.isclass(item) else type(item)
    if not issubclass(cls, Objective) or inspect.isabstract(cls):
        raise BenchError(
            f"objectives: {item!r} is not an objective; give a name, a class or an instance of "
            "bench.Objective, or a list of these (bench list objectives shows the names)"
        )
    _check_loadable(cls, registry)
    own = dict(overrides.get(cls.name, {}))
    yield from_mapping(cls, ({} if inspect.isclass(item) else as_mapping(item)) | own, cls.name)


def _from_text(text: str, overrides: Overrides, registry: Registry) -> Iterator[Objective]:
    match = _NAMED.fullmatch(text)
    name = match[1] if match else text
    cls = registry.get("objective", name)
    own = dict(overrides.get(cls.name, {}))
    if match is None or match[2] is None:
        yield from_mapping(cls, own, cls.name)
        return
    values: dict[str, list[str]] = {}
    for part in filter(None, (part.strip() for part in _split(match[2], ","))):
        setting, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not setting or setting in values or setting in own:
            problem = "has no value; write SETTING=VALUE"
            if setting in values or setting in own:
                problem = f"sets {setting!r} a second time"
            raise BenchError(f"objective {text!r}: {part!r} {problem}")
        values[setting] = [alternative.strip() for alternative in _split(value, "|")]
    for combination in itertools.product(*values.values()):
        chosen: Mapping[str, Any] = own | dict(zip(values, combination, strict=True))
        yield from_mapping(cls, chosen, cls.name)


def _split(text: str, separator: str) -> list[str]:
    """Split text at a separator outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _check_loadable(cls: type[Objective], registry: Registry) -> None:
    """Refuse a class that a worker process could not load by its name."""
    name = getattr(cls, "name", None)
    installed = registry.of("objective").get(str(name))
    if installed is None or (installed.__module__, installed.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise BenchError(
            f"objectives: {cls.__qualname__} of {cls.__module__} is not an installed plugin, "
            "and the worker processes load objectives by name; save it as "
            f"objectives/{name or 'mine'}.py, or make a package with `bench new objective "
            f"{name or 'mine'}` and install it"
        )
