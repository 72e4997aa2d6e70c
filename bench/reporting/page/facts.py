"""Facts of a report: the provenance of the runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.reporting.formatting import printable

if TYPE_CHECKING:
    from bench.reporting.table import Table

_MAX_LENGTH = 300


def provenance(table: Table) -> list[tuple[str, list[str]]]:
    """(fact, its distinct values over the runs) for everything that made the runs."""
    values_of: dict[str, dict[str, None]] = {}
    for run in (run for row in table.rows for run in row.runs):
        data, spec = run.data, run.data["spec"]
        facts = {
            "corpus": f"{data.get('corpus', 'unknown')}, sha256 {data['corpus_sha256']}",
            "tokenizer": f"sha256 {data['tokenizer_sha256']}",
            **({"continues": run.continues} if run.continues else {}),
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
