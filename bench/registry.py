"""Objectives, tasks, corpora and observers by name, whether built-in or third-party.

All use the same hooks. pluggy's own entry-point loader is not enough (tried): one broken entry
point aborts all loading; of two distributions with the same entry-point name one is lost silently;
and a misspelt hook goes unnoticed. So each plugin is loaded, registered and checked separately. A
broken plugin is listed with its reason, and is an error only when it is requested by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import os
import pkgutil
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from types import FrameType
from typing import Any, Literal, NoReturn, cast

import pluggy

from bench import hookspecs
from bench._layout import import_part
from bench.errors import BenchError, source_of, unknown_name

Kind = Literal["objective", "task", "corpus", "observer"]
HOOKS: dict[str, Kind] = {
    "bench_objectives": "objective",
    "bench_tasks": "task",
    "bench_corpora": "corpus",
    "bench_observers": "observer",
}
PLURALS: dict[Kind, str] = {
    "objective": "objectives",
    "task": "tasks",
    "corpus": "corpora",
    "observer": "observers",
}
GROUP = "bench"
BUILT_IN = "built-in"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_METADATA: dict[Kind, tuple[str, ...]] = {
    "objective": ("summary", "source"),
    "task": ("summary", "source", "metric", "family", "chance"),
    "corpus": ("summary",),
    "observer": ("summary",),
}
_ABSTRACT = "__abstractmethods__"
_OBSERVERS = ("tensorboard", "trackio", "wandb")
IMPORT_SECONDS = 120.0
"""A plugin that is not imported after so long is taken to hang."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """A class with its provider, or a provider with the reason why it is broken."""

    kind: Kind | None
    """None for a broken plugin."""
    name: str
    provider: str
    """`built-in:FILE`, or `DISTRIBUTION:ENTRY_POINT`."""
    item: type[Any] | None = None
    """The class; None for a broken plugin."""
    problem: str | None = None
    """The reason why the plugin is broken."""


class Registry:
    """All plugins, broken ones included, sorted by kind and name."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("bench")
        self._manager.add_hookspecs(hookspecs)
        plugins: list[Plugin] = []
        for provider, load in _built_in():
            plugins.extend(self._load(provider, load))
        for provider, load in _installed():
            with _contained() as interrupts:
                plugins.extend(self._load(provider, load, interrupts))
        self.plugins = sorted(plugins, key=lambda p: (p.kind or "~", p.name, p.provider))

    def _load(
        self, provider: str, load: Callable[[], Any], interrupts: list[int] | None = None
    ) -> list[Plugin]:
        """Load and register one provider; an exception makes it a broken plugin.

        Args:
            provider: Its name.
            load: Imports it.
            interrupts: Receives the signals of ^C; empty: a `KeyboardInterrupt` is the plugin's.
        """
        module = None
        try:
            module = load()
            _check_hooks(module)
            self._manager.register(module, name=provider)
            self._manager.check_pending()
            return [
                _checked_plugin(HOOKS[caller.name], item, provider)
                for caller in self._manager.get_hookcallers(module) or []
                for implementation in caller.get_hookimpls()
                if implementation.plugin is module
                for item in cast("list[Any]", implementation.function())
            ]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and interrupts != []:
                raise
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            problem = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            return [Plugin(None, provider.rpartition(":")[2], provider, problem=problem)]

    def of(self, kind: Kind) -> dict[str, type[Any]]:
        """The usable classes of a kind by name; names with two providers are left out."""
        names = [p.name for p in self.plugins if p.kind == kind and p.item is not None]
        return {
            plugin.name: plugin.item
            for plugin in self.plugins
            if plugin.kind == kind and plugin.item is not None and names.count(plugin.name) == 1
        }

    def get(self, kind: Kind, name: str) -> type[Any]:
        """The class with a name; `-` and `_` are equivalent.

        Raises:
            BenchError: The name is unknown, broken, or provided twice.
        """
        module_name = name.replace("-", "_")
        plugins = [p for p in self.plugins if p.name == module_name and p.kind in (kind, None)]
        usable = [p for p in plugins if p.item is not None]
        if len(usable) > 1:
            providers = " and ".join(p.provider for p in usable)
            raise BenchError(
                f"two {PLURALS[kind]} are named {module_name!r}, by {providers}; uninstall one, or "
                "list the plugins to load in BENCH_PLUGINS"
            )
        if usable and usable[0].item is not None:
            return usable[0].item
        for plugin in plugins or [p for p in self.plugins if p.provider.split(":")[0] == name]:
            if plugin.problem is not None:
                raise BenchError(f"plugin {plugin.provider} is broken: {plugin.problem}")
        raise unknown_name(kind, name, self.of(kind), f"bench list {PLURALS[kind]}")


class _Part:
    """One built-in module with the hooks of a plugin."""

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

    @hookspecs.hookimpl
    def bench_observers(self) -> list[type[Any]]:
        return self._of("observer")


def _built_in() -> Iterator[tuple[str, Callable[[], Any]]]:
    """(Provider, loader) of each module in `objectives/` and `tasks/`, of micro and observers."""
    parts: tuple[tuple[str, Kind], ...] = (("objectives", "objective"), ("tasks", "task"))
    for part, kind in parts:
        for module in pkgutil.iter_modules(import_part(part).__path__):
            yield f"{BUILT_IN}:{module.name}", _loader(f"bench.{part}.{module.name}", kind)
    yield f"{BUILT_IN}:micro", _loader("bench.corpus.microworld", "corpus")
    for name in _OBSERVERS:
        yield f"{BUILT_IN}:{name}", _loader(f"bench.engines.observers.{name}", "observer")


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
    """(Provider, loader) of each third-party entry point.

    BENCH_PLUGINS, a comma-separated list of distributions or entry points, limits them. An empty
    BENCH_PLUGINS loads none.
    """
    limit = os.environ.get("BENCH_PLUGINS")
    allowed = None if limit is None else {name.strip() for name in limit.split(",")}
    points = [(p.dist.name if p.dist else "unknown", p) for p in entry_points(group=GROUP)]
    for distribution, point in sorted(points, key=lambda pair: (pair[0], pair[1].name)):
        if allowed is None or allowed & {distribution, point.name}:
            yield f"{distribution}:{point.name}", point.load


class _HangError(BaseException):
    """The import of a plugin takes too long; no `except Exception` of the plugin catches it."""


@contextlib.contextmanager
def _contained() -> Iterator[list[int]]:
    """Keep the code of a plugin from printing, ending the process and hanging while it is loaded.

    Yields the signals of ^C that arrive meanwhile, so that a `KeyboardInterrupt` of the plugin is
    none of the user. Only the main thread receives signals; elsewhere a hang is not noticed.
    """
    interrupts: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        usual(number, frame)  # type: ignore[operator, misc]

    def hang(_number: int, _frame: FrameType | None) -> NoReturn:
        raise _HangError(f"it is not imported after {IMPORT_SECONDS:g} seconds")

    def leave(status: int) -> NoReturn:
        if os.getpid() != this_process:  # a child that it forked
            leave_before(status)
        raise SystemExit(f"it ends the process with os._exit({status}) when it is imported")

    handlers: dict[int, Any] = {signal.SIGINT: interrupt} if callable(usual) else {}
    if hasattr(signal, "SIGALRM") and not signal.getitimer(signal.ITIMER_REAL)[0]:
        handlers[signal.SIGALRM] = hang
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    leave_before, this_process = os._exit, os.getpid()
    os._exit = leave
    try:
        if signal.SIGALRM in handlers:
            signal.setitimer(signal.ITIMER_REAL, IMPORT_SECONDS)
        with contextlib.redirect_stdout(sys.stderr):  # standard output may be JSON for a program
            yield interrupts
    finally:
        os._exit = leave_before
        if signal.SIGALRM in handlers:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, former in previous.items():
            signal.signal(number, former)


def _check_hooks(module: Any) -> None:
    """Refuse a hook without its marker or with a misspelt name, which pluggy would not call.

    Raises:
        BenchError: Such a function exists, or the module has no hook at all.
    """
    num_hooks = 0
    for name, function in inspect.getmembers_static(module):
        if not name.startswith("bench_") or not callable(function):
            continue
        if hasattr(function, "bench_spec"):  # imported from `bench.hookspecs`
            continue
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, n=1)
            if near or hasattr(function, "bench_impl"):
                hint = f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(HOOKS)}"
                raise BenchError(f"{name!r} is no hook; {hint}")
        elif not hasattr(function, "bench_impl"):
            raise BenchError(f"the hook {name!r} is never called; write @bench.hookimpl above it")
        else:
            num_hooks += 1
    if not num_hooks:
        raise BenchError(
            f"the entry point has no hook; write @bench.hookimpl above one of {', '.join(HOOKS)}"
        )


def _checked_plugin(kind: Kind, item: Any, provider: str) -> Plugin:
    """A plugin from one item that a hook returned.

    Raises:
        BenchError: The item is not a class with a valid name and the metadata of its kind.
    """
    name = getattr(item, "name", None)
    if not inspect.isclass(item) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BenchError(
            f"{item!r} is no {kind}: the hook must return classes with a name like 'my_{kind}'"
        )
    missing = [field for field in _METADATA[kind] if not hasattr(item, field)]
    missing += [f"the method {method!r}" for method in sorted(getattr(item, _ABSTRACT, ()))]
    if missing:
        raise BenchError(f"{kind} {name!r} lacks {', '.join(missing)}: {source_of(item)}")
    return Plugin(kind, name, provider, item)
