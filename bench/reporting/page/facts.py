"""Facts of a report: the provenance of the runs, and the commands that repeat them.

No record stores the command that the user typed, so a command is rebuilt from the records. It has
no paths of files, because the records have none, so a user adds them. A run id is a hash of
everything that made the run, so a repetition has the same run ids.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench.reporting.formatting import printable
from bench.settings import as_mapping
from bench.sizes import SIZES

if TYPE_CHECKING:
    from bench.reporting.table import Row, Table

_MAX_LENGTH = 300
_UNITS = {"tokens": "", "predictions": "pred", "flops": "flop", "seconds": "s"}


def provenance(table: Table) -> list[tuple[str, list[str]]]:
    """(fact, its distinct values over the runs) for everything that made the runs."""
    values_of: dict[str, dict[str, None]] = {}
    runs = [run.data for row in table.rows for run in row.runs]
    for data in runs:
        spec = data["spec"]
        facts = {
            "corpus": f"{data.get('corpus', 'unknown')}, sha256 {data['corpus_sha256']}",
            "tokenizer": f"sha256 {data['tokenizer_sha256']}",
            "encoder": _flat(spec.get("encoder")),
            "training": _flat(spec.get("training")),
            "versions": _flat(data.get("versions")),
            "git commit": data.get("git_commit") or "not a checkout",
            "hardware": _flat(data.get("hardware")),
            "device": spec.get("device", "unknown"),
            "threads": data.get("threads", "unknown"),
        }
        for fact, value in facts.items():
            values_of.setdefault(fact, {})[shorten(str(value))] = None
    return [(fact, list(values)) for fact, values in values_of.items()]


def task_variants(table: Table) -> list[tuple[str, str, str]]:
    """(task, sha256 of its data, probe settings) of each task of a table."""
    return [
        (variant[0], variant[1], shorten(_flat(json.loads(variant[2])) or "no settings"))
        for variant in dict.fromkeys(column.variant for column in table.columns)
    ]


def run_ids(table: Table) -> list[tuple[str, list[str]]]:
    """(row, its run ids) of each pretrained or untrained encoder."""
    return [
        (row.name, [f"{run.data['id']} ({run.data['status']})" for run in row.runs])
        for row in table.rows
        if row.runs and row.attention == "native"
    ]


def commands(table: Table, out: str) -> list[str]:
    """Commands that repeat the runs.

    Objectives share a command if they have the same seeds. Several settings of one objective have
    commands of their own.
    """
    batches: list[tuple[list[int], dict[str, Mapping[str, Any]]]] = []
    for row in table.rows:
        if not row.runs or row.attention != "native":
            continue
        seeds = sorted({run.data["seed"] for run in row.runs})
        settings = _changed_settings(row)
        for batch_seeds, members in batches:
            if batch_seeds == seeds and row.objective not in members:
                members[row.objective] = settings
                break
        else:
            batches.append((seeds, {row.objective: settings}))
    shared = _shared_flags(table)
    lines = []
    for seeds, members in batches:
        objectives = [("--objective", name) for name in members]
        overrides = [
            ("--set", f"{name}.{key}={value}")
            for name, settings in members.items()
            for key, value in settings.items()
        ]
        flags = [*objectives, *shared, ("--seeds", ",".join(map(str, seeds))), *overrides]
        flags.append(("--out", out))
        lines.append("bench run " + " ".join(f"{flag} {shlex.quote(v)}" for flag, v in flags))
    return lines


def _changed_settings(row: Row) -> dict[str, Any]:
    """The settings that differ from the defaults, which are those in the display name."""
    data = row.runs[0].data
    bracket = re.fullmatch(r"[^\[]*\[(.*)\]", data["display_name"], re.DOTALL)
    names = re.findall(r"(?:^|,)\s*([a-z_0-9]+)=", bracket[1]) if bracket else []
    return {name: data["settings"][name] for name in names if name in data["settings"]}


def _shared_flags(table: Table) -> list[tuple[str, str]]:
    """The flags that all runs of a table have in common."""
    data = next(run.data for row in table.rows for run in row.runs)
    budget = data["budget"]
    flags = [
        ("--corpus", str(data.get("corpus", "FILES"))),
        ("--tasks", ",".join(dict.fromkeys(column.task for column in table.columns)) or "none"),
        ("--size", data["size"]),
        ("--budget", f"{budget['amount']:.12g}{_UNITS[budget['axis']]}"),
    ]
    probes = [json.loads(column.variant[2]) for column in table.columns]
    names = [str(probe["probe"]) for probe in probes if "probe" in probe]
    if any(name != "linear" for name in names):
        flags.append(("--probe", ",".join(dict.fromkeys(names))))
    limits = {probe["limit"] for probe in probes if probe.get("limit") is not None}
    flags += [("--limit", str(limit)) for limit in sorted(limits, key=str)[:1]]
    size = SIZES.get(data["size"])
    if size is not None:
        for owner in ("encoder", "training"):
            defaults = as_mapping(getattr(size, owner))
            settings = data["spec"].get(owner)
            for key, value in settings.items() if isinstance(settings, dict) else ():
                # The size of the vocabulary follows from the corpus or the tokenizer.
                if key in defaults and key != "vocab_size" and defaults[key] != value:
                    flags.append(("--set", f"{owner}.{key}={value}"))
    return flags


def _flat(value: Any) -> str:
    """A mapping on one line."""
    if not isinstance(value, dict):
        return "unknown" if value is None else str(value)
    return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None)


def shorten(text: str, max_length: int = _MAX_LENGTH) -> str:
    """A text of a record, printable and of bounded length."""
    clean = printable(text)
    return clean if len(clean) <= max_length else f"{clean[: max_length - 1]}\u2026"


def count(items: Iterable[Any], noun: str) -> str:
    """The number of items with the noun: `3 runs`, `1 run`."""
    number = len(list(items))
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
