"""What there is, for `bench list` and `bench describe`: as plain values, and as text."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, unknown_name
from bench.experiment import sizes
from bench.registry import PLURALS, Entry, Kind, Registry
from bench.settings import knobs
from bench.spec import EncoderShape, Training


def catalogue(what: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Kind -> rows; broken plugins are rows of `broken`, with the reason.

    Args:
        what: "objectives", "tasks", "corpora" or "sizes"; None: all of them.
    """
    registry = Registry()
    kinds: dict[str, Kind] = {plural: kind for kind, plural in PLURALS.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for plural in (*kinds, "sizes") if what is None else (what,):
        if plural == "sizes":
            found["sizes"] = [{"name": name, **facts} for name, facts in sizes().items()]
        else:
            found[plural] = [_row(e, registry) for e in registry.entries if e.kind == kinds[plural]]
    broken = [e for e in registry.entries if e.problem is not None]
    if broken and what != "sizes":
        found["broken"] = [
            {"name": e.name, "provider": e.provider, "problem": e.problem} for e in broken
        ]
    return found


def _row(entry: Entry, registry: Registry) -> dict[str, Any]:
    item: Any = entry.item
    row = {"name": entry.name, "summary": item.summary, "provider": entry.provider}
    for field in ("source", "family", "metric", "chance", "size", "suites"):
        if hasattr(item, field):
            row[field] = getattr(item, field)
    if entry.name not in registry.of(entry.kind):  # type: ignore[arg-type]
        row["problem"] = "two plugins provide this name"
    if entry.kind == "objective":
        row["settings"] = [vars(knob) for knob in knobs(item)]
    return row


def describe(name: str, out: Path) -> dict[str, Any]:
    """One thing by name, with its settings; or a run under `out`, with its scores.

    Raises:
        BenchError: Nothing of that name, or a broken plugin.
        RefusedError: A run of that name is damaged.
    """
    for owner, settings in (("encoder", EncoderShape), ("training", Training)):
        if name == owner:
            summary = (inspect.getdoc(settings) or "").splitlines()[0]
            rows = [vars(knob) for knob in knobs(settings)]
            return {"name": owner, "kind": "settings", "summary": summary, "settings": rows}
    if name in sizes():
        return {"name": name, "kind": "size", **sizes()[name]}
    registry = Registry()
    wanted = name.replace("-", "_")
    for entry in registry.entries:
        if entry.name == wanted and entry.kind is not None:
            item: Any = registry.get(entry.kind, name)
            about = sys.modules[item.__module__].__doc__ or ""
            return {"kind": entry.kind, **_row(entry, registry), "about": about.strip()}
        if entry.name == wanted or entry.provider == name:
            raise BenchError(f"plugin {entry.provider} is broken: {entry.problem}")
    known = [e.name for e in registry.entries] + ["encoder", "training", *sizes()]
    runs = [path.name for path in (out / "runs").glob("*-*")]
    if any(run.startswith(name) for run in runs) or (Path(name) / "run.json").is_file():
        from bench.reporting.run_summary import facts_of, run_named

        return facts_of(run_named(out, name))
    listing = f"bench list and {out}/runs"
    raise unknown_name("objective, task, corpus, size or run", name, known + runs, listing)


def render(found: dict[str, list[dict[str, Any]]]) -> str:
    """The catalogue as text, a line a thing."""
    lines: list[str] = []
    for kind, rows in found.items():
        lines.append(f"{kind} ({len(rows)})")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            text = row.get("problem") or row["summary"]
            notes = [_asked(row)] if "metric" in row else []
            notes += [row["source"]] if row.get("source") else []
            if not row.get("provider", "built-in:").startswith("built-in:"):
                notes.append(f"from {row['provider']}")
            note = f"  ({'; '.join(notes)})" if notes else ""
            lines.append(f"  {row['name']:<{width}}  {text}{note}")
            lines += _knobs(row.get("settings", ()), indent=" " * (width + 4))
        lines.append("")
    return "\n".join(lines).rstrip()


def _knobs(settings: Sequence[dict[str, Any]], indent: str) -> list[str]:
    """What can be set and its default: `rate=0.15 mask_fraction=0.8`."""
    pairs = (f"{knob['name']}={knob['default']}" for knob in settings)
    return textwrap.wrap(
        " ".join(pairs), 100, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _asked(row: dict[str, Any]) -> str:
    """A task in a few words: `tagging, span_f1, chance 0.000, 8,936/2,012`."""
    chance = row["chance"]
    known = f"{chance:.3f}" if isinstance(chance, int | float) else "unknown"
    parts = [row["family"], row["metric"], f"chance {known}"]
    if row.get("size"):
        parts.append("/".join(f"{count:,}" for count in row["size"]))
    return ", ".join(parts)


def render_one(found: dict[str, Any]) -> str:
    """One thing as text."""
    if found["kind"] == "run":
        from bench.reporting.run_summary import render_run

        return render_run(found)
    lines = [f"{found['name']} ({found['kind']}): {found['summary']}"]
    for field in ("source", "provider", "family", "metric", "chance", "size", "budget", "seeds"):
        if found.get(field) not in (None, "", ()):
            lines.append(f"  {field}: {found[field]}")
    for part in ("encoder", "training"):
        for name, value in found.get(part, {}).items():
            lines.append(f"  {part}.{name} = {value}")
    if found.get("about"):
        lines += ["", found["about"]]
    if found.get("settings"):
        lines += ["", "settings (--set NAME.SETTING=VALUE):"]
        for knob in found["settings"]:
            default = "" if knob["default"] is None else f" = {knob['default']}"
            lines.append(f"  {found['name']}.{knob['name']}{default}  [{knob['kind']}]")
            lines.append(f"      {knob['help']}")
    return "\n".join(lines)
