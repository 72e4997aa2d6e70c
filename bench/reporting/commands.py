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

from bench.corpus import GENERATED
from bench.corpus.opening import HUB_PREFIX
from bench.errors import BenchError
from bench.reporting.table import Row, Table
from bench.settings import as_mapping, whole_number
from bench.sizes import SIZES
from bench.spec import Budget

_UNITS = {"tokens": "", "predictions": "pred", "flops": "flop", "seconds": "s"}
_SHARED = ("encoder", "training", "probe", "finetune", "contrastive")
"""Owners of settings that are the same for every objective."""
_FOLLOWING = {
    "mlp_size": {"hidden_size"},
    "rotary_theta": {"max_length"},
    "learning_rate": {"hidden_size", "batch_tokens"},
}
"""Settings whose default follows from others (`bench.sizes`)."""


def compare_command(out: str) -> str:
    """The command that compares all runs of a folder.

    Args:
        out: Folder of the records.
    """
    return "bench compare" + ("" if out == "results" else f" --out {shlex.quote(out)}")


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
    options = shared_options(table)
    curve = whole_curve(table)
    if budget is not None:
        options = _replaced(options, budget)
    elif curve is not None:
        options = [*_replaced(options, _text(curve[0])), ("--curve", str(curve[1]))]
    known = sorted({run.data["seed"] for row in rows for run in row.runs})
    flags = [
        *(("--objective", text) for text in _objective_texts(table, rows, options)),
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


def whole_curve(table: Table) -> tuple[Budget, int] | None:
    """The longest budget and the number of points of the curve that a table's runs must be part of.

    A corpus that can have any length is made for the longest budget: a shorter run, if it were
    started alone, would read another corpus. None where the runs can be started alone.
    """
    data = _first_with_options(table)
    options = {str(flag): str(value) for flag, value in data.get("options") or ()}
    corpus, points = options.get("--corpus", ""), whole_number(options.get("--curve", ""))
    if points is None or not (corpus == GENERATED or corpus.startswith(HUB_PREFIX)):
        return None
    size = SIZES.get(data["size"])
    try:
        longest = Budget.parse(options.get("--budget") or ("" if size is None else size.budget))
    except BenchError:  # a foreign record
        return None
    budget = data["budget"]
    is_part = longest.axis == budget["axis"] and longest.amount > budget["amount"]
    return (longest, points) if is_part else None


def _replaced(options: Sequence[tuple[str, str]], budget: str) -> list[tuple[str, str]]:
    return [(flag, budget if flag == "--budget" else value) for flag, value in options]


def _text(budget: Budget) -> str:
    return f"{budget.amount:.12g}{_UNITS[budget.axis]}"


def _first_with_options(table: Table) -> Mapping[str, Any]:
    runs = [run for row in table.rows for run in row.runs]
    return next((run.data for run in runs if run.data.get("options")), runs[0].data)


def _objective_texts(
    table: Table, rows: Sequence[Row], options: Sequence[tuple[str, str]]
) -> list[str]:
    """The objectives of a command, with those whose settings are tuned.

    What is tuned is part of the identity of every run, and the owner of a setting must be there.
    """
    texts = [objective_text(row) for row in rows]
    owners = {_owner(value) for flag, value in options if flag == "--tune"}
    for owner in sorted(owners - {"training"} - {row.objective for row in rows}):
        known = [r for r in table.rows if r.objective == owner and r.attention == "native"]
        texts += [objective_text(row) for row in known] or [owner]
    return texts


def _owner(setting: str) -> str:
    """The owner of `OWNER.SETTING=VALUE`."""
    return setting.partition(".")[0].replace("-", "_")


def objective_text(row: Row) -> str:
    """An objective with the settings that differ from the defaults: `span(rate=0.3)`."""
    data = row.runs[0].data
    bracket = re.fullmatch(r"[^\[]*\[(.*)\]", data["display_name"], re.DOTALL)
    names = re.findall(r"(?:^|,)\s*([a-z_0-9]+)=", bracket[1]) if bracket else []
    settings = [f"{n}={data['settings'][n]}" for n in names if n in data["settings"]]
    return f"{row.objective}({','.join(settings)})" if settings else row.objective


def shared_options(table: Table) -> list[tuple[str, str]]:
    """The options that all runs of a table have in common, the budget among them."""
    data = _first_with_options(table)
    amount, axis = data["budget"]["amount"], data["budget"]["axis"]
    budget = ("--budget", _text(Budget(axis, amount)))
    # Settings of an objective stand in its text; without it in the command they are refused.
    shared = [
        (str(flag), str(value))
        for flag, value in data.get("options") or ()
        if flag != "--set" or _owner(str(value)) in _SHARED
    ]
    if not shared:
        return _from_facts(table, data, budget)
    # A later command may have scored further tasks on the same runs.
    tasks = ",".join(dict.fromkeys(column.task for column in table.columns if not column.is_own))
    named = [("--tasks", tasks)] if tasks else []
    replaced = ("--budget", "--curve", *(["--tasks"] if tasks else []))
    return [*((flag, value) for flag, value in shared if flag not in replaced), *named, budget]


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
    known: dict[tuple[str, str], tuple[Any, Any]] = {}
    if size is not None:
        for owner in ("encoder", "training"):
            defaults = as_mapping(getattr(size, owner))
            settings = data["spec"].get(owner)
            # The size of the vocabulary follows from the corpus or the tokenizer.
            known |= {
                (owner, key): (value, defaults[key])
                for key, value in (settings.items() if isinstance(settings, dict) else ())
                if key in defaults and key != "vocab_size"
            }
        differing = {key for (_, key), (value, default) in known.items() if value != default}
        for (owner, key), (value, _) in known.items():
            if key in differing or differing & _FOLLOWING.get(key, set()):
                flags.append(("--set", f"{owner}.{key}={value}"))
    return flags
