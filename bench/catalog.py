"""`bench list` and `bench describe`: everything that exists by name, as typed items and as text."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.errors import BenchError, RefusedError, unknown_name
from bench.experiment.tasks import task_suites
from bench.registry import PLURALS, Kind, Plugin, Registry
from bench.settings import Knob, as_mapping, knobs
from bench.sizes import SIZES
from bench.spec import EncoderShape, Training

if TYPE_CHECKING:
    from bench.reporting.run_summary import RunSummary

PROBE_OWNERS = ("probe", "finetune", "contrastive")
"""Owners of the settings by which encoders are evaluated."""
Listing = Literal["objectives", "tasks", "suites", "corpora", "sizes", "observers", "runs"]


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing that `bench list` shows: an objective, a task, a suite, a corpus, a size or a run.

    A field that does not apply is None or empty, and is left out of the JSON.
    """

    name: str
    kind: str
    summary: str = ""
    provider: str | None = None
    """`built-in:FILE`, or `DISTRIBUTION:ENTRY_POINT` for an installed plugin."""
    source: str | None = None
    """The citation."""
    family: str | None = None
    metric: str | None = None
    chance: float | None = None
    """The score of guessing, in the metric."""
    size: tuple[int, int] | None = None
    """Numbers of training and test examples."""
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """The tasks of a suite."""
    encoder: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    budget: str | None = None
    seeds: str | None = None
    settings: tuple[Knob, ...] = ()
    about: str | None = None
    """The docstring of the module."""
    problem: str | None = None
    """Why a plugin cannot be used."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the fields that do not apply."""
        plain = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) not in (None, "", (), {})
        }
        if self.settings:
            plain["settings"] = [vars(knob) for knob in self.settings]
        return plain


def catalog(listing: Listing | None = None, out: Path = Path("results")) -> dict[str, list[Item]]:
    """The items of each listing; broken plugins are items of `broken`, with the reason.

    Args:
        listing: One listing; None: all but the runs.
        out: Folder of the records, for `runs`.

    Raises:
        RefusedError: The record of a run is damaged.
    """
    registry = Registry()
    kinds: dict[str, Kind] = {plural: kind for kind, plural in PLURALS.items()}
    names = [name for name in get_args(Listing) if name != "runs"] if listing is None else [listing]
    items: dict[str, list[Item]] = {}
    for name in names:
        if name == "sizes":
            items[name] = list(_sizes().values())
        elif name == "suites":
            items[name] = _suites(registry)
        elif name == "runs":
            items[name] = _runs(out)
        else:
            plugins = [plugin for plugin in registry.plugins if plugin.kind == kinds[name]]
            items[name] = [_plugin_item(plugin, registry) for plugin in plugins]
    broken = [plugin for plugin in registry.plugins if plugin.problem is not None]
    if broken and listing not in ("sizes", "suites", "runs"):
        items["broken"] = [
            Item(plugin.name, "plugin", provider=plugin.provider, problem=plugin.problem)
            for plugin in broken
        ]
    return items


def describe(name: str, out: Path) -> Item | RunSummary:
    """One thing by name with its settings; or a run under `out` with its scores.

    Raises:
        BenchError: Nothing has that name, or it is a broken plugin.
        RefusedError: The record of a run of that name is damaged.
    """
    owners = {"encoder": EncoderShape, "training": Training}
    further: dict[str, list[Knob]] = {}
    if name in PROBE_OWNERS:
        from bench.probing.contrastive.settings import ContrastiveSettings
        from bench.probing.protocol import CosineSettings, FinetuneSettings, ProbeSettings

        owners = dict(
            zip(PROBE_OWNERS, (ProbeSettings, FinetuneSettings, ContrastiveSettings), strict=True)
        )
        further = {"probe": knobs(CosineSettings)}
    for owner, settings in owners.items():
        if name == owner:
            summary = (inspect.getdoc(settings) or "").splitlines()[0]
            shown = (*knobs(settings), *further.get(owner, ()))
            return Item(owner, "settings", summary, settings=shown)
    if name in SIZES:
        return _sizes()[name]
    registry = Registry()
    module_name = name.replace("-", "_")
    for plugin in registry.plugins:
        if plugin.name == module_name and plugin.kind is not None:
            item = _plugin_item(plugin, registry)
            cls = registry.get(plugin.kind, name)
            about = sys.modules[cls.__module__].__doc__ or ""
            return dataclasses.replace(item, about=about.strip())
        if plugin.name == module_name or plugin.provider == name:
            raise BenchError(f"plugin {plugin.provider} is broken: {plugin.problem}")
    suites = {suite.name: suite for suite in _suites(registry)}
    if module_name in suites:
        return suites[module_name]
    known = [plugin.name for plugin in registry.plugins]
    known += ["encoder", "training", *PROBE_OWNERS, *SIZES, *suites]
    runs = [path.name for path in (out / "runs").glob("*-*")]
    if any(run.startswith(name) for run in runs) or (Path(name) / "run.json").is_file():
        from bench.reporting.run_summary import run_named, summarize

        return summarize(run_named(out, name))
    listing = f"bench list and {out}/runs"
    raise unknown_name("objective, task, suite, corpus, size or run", name, known + runs, listing)


def _plugin_item(plugin: Plugin, registry: Registry) -> Item:
    cls: Any = plugin.item
    assert plugin.kind is not None
    problem = None
    if plugin.name not in registry.of(plugin.kind):
        problem = "two plugins provide this name"
    return Item(
        plugin.name,
        plugin.kind,
        cls.summary,
        plugin.provider,
        problem=problem,
        settings=tuple(knobs(cls)) if plugin.kind == "objective" else (),
        **{
            field: getattr(cls, field)
            for field in ("source", "family", "metric", "chance", "size", "suites")
            if hasattr(cls, field)
        },
    )


def _sizes() -> dict[str, Item]:
    return {
        size.name: Item(
            size.name,
            "size",
            size.summary,
            encoder=as_mapping(size.encoder),
            training=as_mapping(size.training),
            budget=size.budget,
            seeds=size.seeds,
        )
        for size in SIZES.values()
    }


def _suites(registry: Registry) -> list[Item]:
    return [
        Item(name, "suite", f"{len(tasks)} tasks: {', '.join(tasks)}", tasks=tuple(tasks))
        for name, tasks in sorted(task_suites(registry).items())
    ]


def _runs(out: Path) -> list[Item]:
    from bench.records.store import read_run, selected_folders

    items = []
    for folder in selected_folders(out, damaged=[]):
        damaged: list[str] = []
        try:
            run = read_run(folder, damaged)
        except RefusedError as error:
            items.append(Item(folder.name, "run", f"damaged: {error}"))
            continue
        text = (
            f"{run.data['display_name']}, seed {run.data['seed']}, {run.data['size']}, "
            f"{run.status}, {len(run.scores)} scores"
        )
        text += f"; {len(damaged)} damaged: {'; '.join(damaged)}" if damaged else ""
        items.append(Item(run.data["id"], "run", text))
    return items


def render_list(items: dict[str, list[Item]]) -> str:
    """The catalog as text, one line per item."""
    lines: list[str] = []
    for listing, members in items.items():
        lines.append(f"{listing} ({len(members)})")
        width = max((len(item.name) for item in members), default=0)
        for item in members:
            notes = [_task_note(item)] if item.metric else []
            notes += [item.source] if item.source else []
            if item.provider and not item.provider.startswith("built-in:"):
                notes.append(f"from {item.provider}")
            note = f"  ({'; '.join(notes)})" if notes else ""
            lines.append(f"  {item.name:<{width}}  {item.problem or item.summary}{note}")
            lines += _default_lines(item.settings, indent=" " * (width + 4))
        lines.append("")
    return "\n".join(lines).rstrip()


def _default_lines(settings: Sequence[Knob], indent: str) -> list[str]:
    """The settings and their defaults: `rate=0.15 mask_fraction=0.8`."""
    pairs = (f"{knob.name}={knob.default}" for knob in settings)
    return textwrap.wrap(
        " ".join(pairs), 100, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _task_note(item: Item) -> str:
    """A task in short: `tagging, span_f1, chance 0.000, 8,936/2,012`."""
    is_known = isinstance(item.chance, int | float)
    chance = f"{item.chance:.3f}" if is_known else "known after loading"
    parts = [str(item.family), str(item.metric), f"chance {chance}"]
    if item.size:
        parts.append("/".join(f"{count:,}" for count in item.size))
    return ", ".join(parts)


def render_item(item: Item) -> str:
    """One item as text, with all its settings."""
    lines = [f"{item.name} ({item.kind}): {item.summary}"]
    for field in ("source", "provider", "family", "metric", "chance", "size", "budget", "seeds"):
        if getattr(item, field) is not None:
            lines.append(f"  {field}: {getattr(item, field)}")
    for part in ("encoder", "training"):
        for name, value in getattr(item, part).items():
            lines.append(f"  {part}.{name} = {value}")
    if item.about:
        lines += ["", item.about]
    if item.settings:
        lines += ["", "settings (--set NAME.SETTING=VALUE):"]
        for knob in item.settings:
            default = "" if knob.default is None else f" = {knob.default}"
            lines.append(f"  {item.name}.{knob.name}{default}  [{knob.kind}]")
            lines.append(f"      {knob.help}")
    return "\n".join(lines)
