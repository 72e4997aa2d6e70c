"""Checks of the declaration: name and texts, settings, and the cost of importing the module."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

from pydantic import TypeAdapter

from bench.errors import BenchError
from bench.pretraining.objective import Objective, Scoring
from bench.settings import as_mapping, canonical_json, from_mapping, knobs
from bench.testing.findings import Inapplicable, demand, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.probing.task import Task

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
HEAVY = ("torch", "pandas", "sklearn", "scipy", "seaborn")
"""Packages that `bench list` must not load."""
_ABSURD = (float("nan"), 1e300, -1e300)


def check_metadata(objective: Objective) -> None:
    """Name, summary and source exist, and the default settings are valid."""
    _check_texts(objective, ("summary", "source"))
    cls, where = type(objective), place(objective)
    for field, known in (
        ("scoring", (*get_args(Scoring), None)),
        ("attention", ("full", "causal")),
    ):
        value = getattr(objective, field)
        demand(value in known, f"{field} to be one of {known}", repr(value), where)
    try:
        default = cls()
    except Exception as error:  # from pydantic, or from the plugin
        demand(False, "default settings to be valid", f"{type(error).__name__}: {error}", where)
    else:
        where = place(objective, "display_name")
        expected = f"the property display_name to be {cls.name!r} with default settings"
        demand(default.display_name == cls.name, expected, repr(default.display_name), where)
        title = objective.display_name
        begins_with_name = isinstance(title, str) and title.startswith(cls.name)
        demand(begins_with_name, f"display_name to begin with {cls.name!r}", repr(title), where)


def check_task_metadata(task: Task) -> None:
    """Name, summary, source, metric and family exist, and chance is a score."""
    _check_texts(task, ("summary", "source", "metric", "family"))
    where, chance = place(task), task.chance
    # None: only the loaded examples determine it, and `check_random_features` then checks that.
    is_score = chance is None or (isinstance(chance, (int, float)) and -1 <= chance < 1)
    demand(is_score, "chance to be the score of guessing, below 1", repr(chance), where)
    are_names = all(_NAME.fullmatch(suite) for suite in task.suites)
    demand(are_names, "suites to be names like 'my_suite'", repr(task.suites), where)


def check_settings(objective: Objective) -> None:
    """Settings survive JSON, have help texts, and refuse impossible values."""
    cls, where = type(objective), place(objective)
    for ancestor in cls.__mro__[: cls.__mro__.index(Objective)]:
        own = {
            k: v for k, v in inspect.get_annotations(ancestor).items() if "ClassVar" not in str(v)
        }
        ignored = sorted(own.keys() - {field.name for field in dataclasses.fields(cls)})
        seen = f"{ignored} in no setting (is @settings missing above the class?)"
        demand(not ignored, "every annotated field to be a setting", seen, where)
    for built in _variants(objective):
        plain = as_mapping(built)
        again = from_mapping(cls, json.loads(canonical_json(plain)), cls.name)
        demand(again == built, "settings to survive JSON", f"{plain} became {again}", where)
        key = hash(again)  # runs are looked up by the settings of their objective
        demand(key == hash(built), "equal settings to have equal hashes", f"{plain}", where)
    demand(
        _refuses(cls, {"no_such_setting": 1}),
        "an unknown setting to be refused",
        "no_such_setting=1 was accepted",
        where,
    )
    for knob in knobs(cls):
        expected = f"a docstring under the setting {knob.name}"
        demand(bool(knob.help), expected, "none", where)
        _check_range(cls, knob.name, where)


def check_light_import(item: Objective | Task) -> None:
    """Importing the module loads no heavy package, so that `bench list` answers at once."""
    module = type(item).__module__
    script = (
        "import importlib, sys; from bench._startup import defer; "
        f"defer(*{HEAVY}); from bench._layout import import_part; "
        "import_part('objectives'); import_part('tasks'); "
        f"importlib.import_module({module!r}); modules = sys.modules; "
        f"print(*[name for name in {HEAVY} if type(modules.get(name, 0)) is type(sys)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    if done.returncode:
        raise Inapplicable(f"the module {module} cannot be imported by its name alone")
    loaded = done.stdout.split()
    demand(
        not loaded,
        "importing the module to load no heavy package",
        f"{', '.join(loaded)} loaded at import",
        f"the top of {place(item)}: import inside functions, or use the package only there",
    )


def _check_texts(item: Any, fields: tuple[str, ...]) -> None:
    """The name and the one-line texts of a class."""
    where = place(item)
    name = getattr(item, "name", None)
    is_name = isinstance(name, str) and bool(_NAME.fullmatch(name))
    demand(is_name, "a name like 'my_objective'", repr(name), where)
    for field in fields:
        text = getattr(item, field, None)
        is_line = isinstance(text, str) and bool(text.strip()) and "\n" not in text
        demand(is_line, f"{field} to be one line of text", repr(text), where)
    demand(bool(inspect.getdoc(type(item))), "a docstring", "none", where)


def _variants(objective: Objective) -> Iterator[Objective]:
    """The objective, and one variant for each value of a setting with listed values."""
    yield objective
    schema = TypeAdapter(type(objective)).json_schema().get("properties", {})
    for name, facts in schema.items():
        choices = [True, False] if facts.get("type") == "boolean" else facts.get("enum", [])
        for choice in choices:
            try:
                yield from_mapping(type(objective), as_mapping(objective) | {name: choice}, "it")
            except BenchError:  # a choice may not fit the other settings
                continue


def _check_range(cls: type[Objective], name: str, where: str) -> None:
    """A number has a bound and is never NaN; other settings refuse another type."""
    facts = TypeAdapter(cls).json_schema()["properties"][name]
    kinds = [facts.get("type"), *[option.get("type") for option in facts.get("anyOf", [])]]
    if {"number", "integer"} & set(kinds):
        accepted = [value for value in _ABSURD if not _refuses(cls, {name: value})]
        # One side may be unbounded (a weight has no largest value); NaN is never valid.
        fits = len(accepted) < 2 and not any(math.isnan(value) for value in accepted)
        seen = f"{name} = {', '.join(map(str, accepted))} accepted"
        demand(fits, f"{name} to refuse NaN and values out of range", seen, where)
    else:
        seen = f"{name} accepted a mapping"
        demand(_refuses(cls, {name: {"": None}}), f"{name} to refuse another type", seen, where)


def _refuses(cls: type[Objective], values: dict[str, Any]) -> bool:
    """Whether a value raises a `BenchError`, the error for users."""
    try:
        from_mapping(cls, values, cls.name)
    except BenchError:
        return True
    return False
