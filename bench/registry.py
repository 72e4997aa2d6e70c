"""What there is: objectives, tasks and corpora by name, ours and strangers' through the same hooks.

pluggy's own entry-point loader is not enough (tried): one broken entry point aborts all loading,
two distributions with one entry-point name lose one in silence, and a misspelt hook goes unnoticed.
So each plugin is loaded, registered and checked by itself; a broken one is a row with its reason
and an error only when it is asked for by name.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Literal, cast

import pluggy

from bench import hookspecs
from bench._layout import import_part
from bench.errors import BenchError, unknown_name

Kind = Literal["objective", "task", "corpus"]
HOOKS: dict[str, Kind] = {
    "bench_objectives": "objective",
    "bench_tasks": "task",
    "bench_corpora": "corpus",
}
PLURALS: dict[Kind, str] = {"objective": "objectives", "task": "tasks", "corpus": "corpora"}
GROUP = "bench"
BUILT_IN = "built-in"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_METADATA: dict[Kind, tuple[str, ...]] = {
    "objective": ("summary", "source"),
    "task": ("summary", "source", "metric", "family", "chance"),
    "corpus": ("summary",),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One provided class, or a provider and the reason why it gives none."""

    kind: Kind | None
    name: str
    provider: str
    item: type[Any] | None = None
    problem: str | None = None


class Registry:
    """All that was found, the broken included, in order of kind and name."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("bench")
        self._manager.add_hookspecs(hookspecs)
        found: list[Entry] = []
        for provider, load in (*_built_in(), *_installed()):
            found.extend(self._load(provider, load))
        self.entries = sorted(found, key=lambda e: (e.kind or "~", e.name, e.provider))

    def _load(self, provider: str, load: Callable[[], Any]) -> list[Entry]:
        """Load, register and ask one plugin; whatever it raises becomes its row."""
        plugin = None
        try:
            plugin = load()
            self._manager.register(plugin, name=provider)
            self._manager.check_pending()
            return [
                _entry(HOOKS[caller.name], item, provider)
                for caller in self._manager.get_hookcallers(plugin) or []
                for implementation in caller.get_hookimpls()
                if implementation.plugin is plugin
                for item in cast("list[Any]", implementation.function())
            ]
        except (Exception, SystemExit) as error:
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            return [Entry(None, provider.rpartition(":")[2], provider, problem=problem)]

    def of(self, kind: Kind) -> dict[str, type[Any]]:
        """The usable classes of a kind by name; names with two providers are left out."""
        names = [e.name for e in self.entries if e.kind == kind and e.item is not None]
        return {
            entry.name: entry.item
            for entry in self.entries
            if entry.kind == kind and entry.item is not None and names.count(entry.name) == 1
        }

    def get(self, kind: Kind, name: str) -> type[Any]:
        """The class of a name; `-` and `_` are the same.

        Raises:
            BenchError: Unknown, broken, or provided twice.
        """
        wanted = name.replace("-", "_")
        named = [e for e in self.entries if e.name == wanted and e.kind in (kind, None)]
        usable = [e for e in named if e.item is not None]
        if len(usable) > 1:
            providers = " and ".join(e.provider for e in usable)
            raise BenchError(
                f"two {PLURALS[kind]} are named {wanted!r}, by {providers}; uninstall one, or name "
                "the plugins to load in BENCH_PLUGINS"
            )
        if usable and usable[0].item is not None:
            return usable[0].item
        for entry in named or [e for e in self.entries if e.provider.split(":")[0] == name]:
            if entry.problem is not None:
                raise BenchError(f"plugin {entry.provider} is broken: {entry.problem}")
        raise unknown_name(kind, name, self.of(kind), f"bench list {PLURALS[kind]}")


class _Part:
    """One file of `objectives/` or `tasks/` as a plugin."""

    def __init__(self, classes: list[type[Any]], kind: Kind) -> None:
        self._classes, self._kind = classes, kind

    def _of(self, kind: Kind) -> list[type[Any]]:
        return self._classes if self._kind == kind else []

    @hookspecs.hookimpl
    def bench_objectives(self) -> list[type[Any]]:
        return self._of("objective")

    @hookspecs.hookimpl
    def bench_tasks(self) -> list[type[Any]]:
        return self._of("task")

    @hookspecs.hookimpl
    def bench_corpora(self) -> list[type[Any]]:
        return self._of("corpus")


def _built_in() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The folders are the lists: every module of them is a plugin of its own."""
    for part, kind in (("objectives", "objective"), ("tasks", "task")):
        for found in pkgutil.iter_modules(import_part(part).__path__):
            yield f"{BUILT_IN}:{found.name}", _loader(f"bench.{part}.{found.name}", kind)  # type: ignore[arg-type]
    yield f"{BUILT_IN}:micro", _loader("bench.corpus.microworld", "corpus")


def _loader(module_name: str, kind: Kind) -> Callable[[], Any]:
    def load() -> Any:
        module = importlib.import_module(module_name)
        classes = [
            item
            for _, item in inspect.getmembers(module, inspect.isclass)
            if item.__module__ == module_name and "name" in vars(item)
        ]
        file_name = module_name.rpartition(".")[2]
        names = [vars(item)["name"] for item in classes]
        if kind != "corpus" and names != [file_name]:
            raise BenchError(f"{file_name}.py must define one {kind} named {file_name!r}")
        return _Part(classes, kind)

    return load


def _installed() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Strangers' entry points; BENCH_PLUGINS (distributions or entry points, by comma) limits them.

    An empty BENCH_PLUGINS loads none.
    """
    limit = os.environ.get("BENCH_PLUGINS")
    allowed = None if limit is None else {name.strip() for name in limit.split(",")}
    points = [(p.dist.name if p.dist else "unknown", p) for p in entry_points(group=GROUP)]
    for distribution, point in sorted(points, key=lambda pair: (pair[0], pair[1].name)):
        if allowed is None or allowed & {distribution, point.name}:
            yield f"{distribution}:{point.name}", point.load


def _entry(kind: Kind, item: Any, provider: str) -> Entry:
    """Check what a hook returned before anything relies on it."""
    name = getattr(item, "name", None)
    if not inspect.isclass(item) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BenchError(f"{item!r} is no {kind}: a class with a name like 'my_{kind}' is wanted")
    missing = [field for field in _METADATA[kind] if not hasattr(item, field)]
    if missing:
        raise BenchError(f"{kind} {name!r} lacks {', '.join(missing)}")
    return Entry(kind, name, provider, item)
