"""Tasks from names, suites, classes and files of labels, and the checks before anything runs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.corpus import GENERATED
from bench.errors import BenchError, unknown_name
from bench.settings import texts

if TYPE_CHECKING:
    from bench.probing.task import DataRoot, Probe, Task
    from bench.registry import Registry
    from bench.spec import Overrides

DEFAULT_CORPUS = GENERATED
"""Its tasks are the default ones."""


def read_tasks(
    tasks: Any, labels: Sequence[str], corpus: Any, registry: Registry
) -> dict[str, type[Task]]:
    """Tasks by name, each once, in the given order; then those of the user's label files.

    Args:
        tasks: Names and suites as comma-separated text, classes, instances, or a list of these;
            `none`: no task; None: the default tasks of the default corpus.
        labels: The user's own labels, each KIND:FILE (see `bench.probing.data.user_tasks`).
        corpus: As given for the experiment: only the default corpus has default tasks.
        registry: The installed tasks.

    Raises:
        BenchError: An unknown name, a task that no worker could load, or no task for this corpus.
    """
    from bench.probing.data.user_tasks import user_task

    installed = registry.of("task")
    suites = {"all": list(installed), "none": [], **task_suites(registry)}
    if tasks is None and labels:
        tasks = "none"
    if tasks is None:
        if corpus not in (DEFAULT_CORPUS, [DEFAULT_CORPUS], (DEFAULT_CORPUS,)):
            raise BenchError(
                "--tasks says what to evaluate: names by comma, a suite, or none (bench list tasks "
                f"shows all; suites: {', '.join(sorted(suites))})"
            )
        tasks = DEFAULT_CORPUS
    chosen: dict[str, type[Task]] = {}
    for name in (name for item in _flattened(tasks) for name in _names(item, suites, registry)):
        chosen[name] = registry.get("task", name)
    for written in labels:
        own = user_task(written)
        if own.name in installed or own.name in chosen:
            raise BenchError(
                f"--task {written} would have the name {own.name!r} of another task; give it a "
                f"name of its own: ,name=my_{own.name}"
            )
        chosen[own.name] = own
    return chosen


def task_suites(registry: Registry) -> dict[str, list[str]]:
    """The names of the installed tasks of each suite."""
    suites: dict[str, list[str]] = {}
    for name, task in registry.of("task").items():
        for suite in getattr(task, "suites", ()):
            suites.setdefault(suite, []).append(name)
    return suites


def expand_suites(tasks: str | Sequence[str], suites: Mapping[str, Sequence[str]]) -> list[str]:
    """Task names from names and suites, each once, in the given order.

    A name that is no suite is kept as it is: records may hold tasks of a user's own files.
    """
    parts = tasks.split(",") if isinstance(tasks, str) else [str(task) for task in tasks]
    names = [part.strip().replace("-", "_") for part in parts if part.strip()]
    return list(dict.fromkeys(task for name in names for task in suites.get(name, [name])))


def read_probes(probes: str | Iterable[str]) -> tuple[Probe, ...]:
    """Probes from comma-separated text or a list, each once, in the given order.

    Raises:
        BenchError: No such probe.
    """
    from bench.probing.task import PROBES

    parts = [part for one in texts("probe", probes) for part in one.split(",")]
    names = [part.strip() for part in parts if part.strip()]
    for name in names or [str(probes)]:
        if name not in PROBES:
            raise BenchError(f"--probe {name!r} is none of {', '.join(PROBES)}")
    return tuple(dict.fromkeys(names))  # type: ignore[arg-type]


def read_probe_settings(
    overrides: Overrides, tasks: Mapping[str, type[Task]]
) -> tuple[dict[str, dict[str, Any]], ...]:
    """Every combination of the settings of all probes: `32|128` are two values.

    Raises:
        BenchError: No task of the experiment has such a setting, or a value is out of range.
    """
    from bench.probing.contrastive.settings import ContrastiveSettings
    from bench.probing.protocol import FinetuneSettings, ProbeSettings
    from bench.settings import changed

    known: dict[str, dict[str, Any]] = {"probe": {}}
    for settings in (ProbeSettings, *(type(task.probe_settings) for task in tasks.values())):
        if dataclasses.is_dataclass(settings):
            known["probe"] |= {field.name: field for field in dataclasses.fields(settings)}
    further: dict[str, Any] = {"finetune": FinetuneSettings(), "contrastive": ContrastiveSettings()}
    for owner, default in further.items():
        known[owner] = {field.name: field for field in dataclasses.fields(default)}
    chosen: dict[tuple[str, str], list[Any]] = {}
    for owner in known:
        for name, value in overrides.get(owner, {}).items():
            if name not in known[owner]:
                raise unknown_name(
                    f"setting of {owner}", name, known[owner], f"bench describe {owner}"
                )
            chosen[owner, name] = value.split("|") if isinstance(value, str) else [value]
    combinations = []
    for values in itertools.product(*chosen.values()):
        combination: dict[str, dict[str, Any]] = {}
        for (owner, name), value in zip(chosen, values, strict=True):
            combination.setdefault(owner, {})[name] = value
        changed(ProbeSettings(), combination.get("probe", {}), "probe")
        for owner, default in further.items():
            changed(default, combination.get(owner, {}), owner)
        for task in tasks.values():
            task().configure(combination)
        combinations.append(combination)
    return tuple(combinations)


def not_applicable(tasks: Mapping[str, type[Task]], probes: Collection[Probe]) -> list[str]:
    """A sentence about the tasks whose cell is `n/a` under the contrastive probe."""
    from bench.probing.contrastive.task import CONTRASTIVE, CosineTask

    names = [
        name
        for name, cls in tasks.items()
        if CONTRASTIVE in probes and cls.probes and not issubclass(cls, CosineTask)
    ]
    if not names:
        return []
    return [
        f"--probe {CONTRASTIVE} does not apply to {', '.join(names)}: it is for tasks that cosines "
        "of embeddings solve (similarity, retrieval, clustering)"
    ]


def from_suites(tasks: Any, registry: Registry) -> frozenset[str]:
    """The tasks that are in the experiment only because a suite has them."""
    suites = {"all": list(registry.of("task")), **task_suites(registry)}
    items = [item.replace("-", "_") for item in _flattened(tasks) if isinstance(item, str)]
    named = {item for item in items if item not in suites}
    return frozenset(t for item in items for t in suites.get(item, ()) if t not in named)


def require_data(
    tasks: Mapping[str, type[Task]], data: DataRoot, optional: Collection[str] = ()
) -> dict[str, str]:
    """Report the missing data sets of all tasks at once, before anything starts.

    Args:
        tasks: The tasks.
        data: Where their data are looked for.
        optional: The tasks that came with a suite: they are left out, and named, where others are
            left.

    Returns:
        The tasks to leave out, with the reason.

    Raises:
        BenchError: A data set is missing; names the places that were searched.
    """
    missing: dict[str, BenchError] = {}
    for name, task in tasks.items():
        try:
            task().require(data)
        except BenchError as error:
            missing[name] = error
    return left_out(missing, tasks, optional, "have no data")


def left_out(
    errors: Mapping[str, BenchError],
    tasks: Iterable[str],
    optional: Collection[str],
    problem: str,
) -> dict[str, str]:
    """The tasks of a suite that cannot be evaluated, where others are left.

    Raises:
        BenchError: A task that was named cannot be evaluated, or none is left.
    """
    names = list(tasks)
    if all(name in optional for name in errors) and len(errors) < len(names):
        return {name: str(error).splitlines()[0] for name, error in errors.items()}
    raise_for(errors, names, problem)
    return {}


def raise_for(errors: Mapping[str, BenchError], tasks: Iterable[str], problem: str) -> None:
    """Raise one error for all tasks that cannot be evaluated, if there are any.

    Raises:
        BenchError: The reason of the only task, or all reasons with the tasks that are left.
    """
    names = list(tasks)
    if len(errors) == 1 and len(names) == 1:
        raise next(iter(errors.values()))
    if errors:
        left = ",".join(name for name in names if name not in errors)
        reasons = "".join(f"\n  {name}: {error}" for name, error in errors.items())
        way_out = f"\nthe other tasks can be evaluated: --tasks {left}" if left else ""
        raise BenchError(f"{len(errors)} of {len(names)} tasks {problem}{reasons}{way_out}")


def _flattened(tasks: Any) -> list[Any]:
    if isinstance(tasks, str):
        return [part.strip() for part in tasks.split(",") if part.strip()]
    if isinstance(tasks, Iterable):
        return [item for one in tasks for item in _flattened(one)]
    return [tasks]


def _names(item: Any, suites: Mapping[str, Sequence[str]], registry: Registry) -> Sequence[str]:
    """The names of the installed tasks that one item stands for."""
    from bench.probing.task import Task

    if isinstance(item, str):
        name = item.replace("-", "_")
        return suites[name] if name in suites else [registry.get("task", name).name]
    cls = item if inspect.isclass(item) else type(item)
    if not issubclass(cls, Task):
        raise BenchError(
            f"tasks: {item!r} is not a task; give a name, a suite, a class of bench.Task, or a "
            "list of these (bench list tasks shows the names)"
        )
    name = str(getattr(cls, "name", cls.__name__))
    installed = registry.of("task").get(name)
    if installed is None or installed.__qualname__ != cls.__qualname__:
        raise BenchError(
            f"tasks: {cls.__qualname__} of module {cls.__module__} is not an installed plugin, and "
            f"the worker processes load tasks by name; save it as tasks/{name}.py, or make a "
            f"package with `bench new task {name}` and install it"
        )
    return [name]
