"""Commands that give runs again, or more of them, from their records.

Records keep the options of their command; those of older or foreign records are put together from
the other facts, where names of corpora stand for their files.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench.reporting.table import Row, Table
from bench.settings import as_mapping
from bench.sizes import SIZES

_UNITS = {"tokens": "", "predictions": "pred", "flops": "flop", "seconds": "s"}


def command(
    table: Table,
    rows: Sequence[Row],
    out: str,
    *,
    seeds: str | None = None,
    budget: str | None = None,
) -> str:
    """The command that runs some rows of a table.

    Args:
        table: The table.
        rows: Rows with runs.
        out: Folder of the records.
        seeds: Default: the seeds of the rows.
        budget: Default: that of the table.
    """
    options = [
        (flag, budget if flag == "--budget" and budget is not None else value)
        for flag, value in shared_options(table)
    ]
    known = sorted({run.data["seed"] for row in rows for run in row.runs})
    flags = [
        *(("--objective", objective_text(row)) for row in rows),
        *options,
        ("--seeds", seeds if seeds is not None else ",".join(map(str, known))),
        ("--out", out),
    ]
    return "bench run " + " ".join(f"{flag} {shlex.quote(value)}" for flag, value in flags)


def commands(table: Table, out: str) -> list[str]:
    """Commands that repeat all runs of a table; objectives with the same seeds share one."""
    batches: dict[tuple[int, ...], list[Row]] = {}
    for row in table.rows:
        if row.runs and row.attention == "native" and row.kind == "trained":
            seeds = tuple(sorted({run.data["seed"] for run in row.runs}))
            batches.setdefault(seeds, []).append(row)
    alone = [row for row in table.rows if row.kind == "untrained" and row.attention == "native"]
    return [command(table, rows, out) for rows in (list(batches.values()) or [alone]) if rows]


def objective_text(row: Row) -> str:
    """An objective with the settings that differ from the defaults: `span(rate=0.3)`."""
    data = row.runs[0].data
    bracket = re.fullmatch(r"[^\[]*\[(.*)\]", data["display_name"], re.DOTALL)
    names = re.findall(r"(?:^|,)\s*([a-z_0-9]+)=", bracket[1]) if bracket else []
    settings = [f"{n}={data['settings'][n]}" for n in names if n in data["settings"]]
    return f"{row.objective}({','.join(settings)})" if settings else row.objective


def shared_options(table: Table) -> list[tuple[str, str]]:
    """The options that all runs of a table have in common, the budget among them."""
    runs = [run for row in table.rows for run in row.runs]
    data = next((run.data for run in runs if run.data.get("options")), runs[0].data)
    budget = ("--budget", f"{data['budget']['amount']:.12g}{_UNITS[data['budget']['axis']]}")
    kept = [(str(flag), str(value)) for flag, value in data.get("options") or ()]
    if not kept:
        return _from_facts(table, data, budget)
    # A later command may have scored further tasks on the same runs.
    tasks = ",".join(dict.fromkeys(column.task for column in table.columns if not column.is_own))
    named = [("--tasks", tasks)] if tasks else []
    replaced = ("--budget", "--curve", *(["--tasks"] if tasks else []))
    return [*((flag, value) for flag, value in kept if flag not in replaced), *named, budget]


def _from_facts(
    table: Table, data: Mapping[str, Any], budget: tuple[str, str]
) -> list[tuple[str, str]]:
    flags = [
        ("--corpus", str(data.get("corpus", "FILES"))),
        ("--tasks", ",".join(dict.fromkeys(column.task for column in table.columns)) or "none"),
        ("--size", data["size"]),
        budget,
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
