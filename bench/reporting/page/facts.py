"""What a report says beside scores: a verdict, where runs come from, how to repeat them.

The verdict is put together from the marks of the comparison alone, so that it can never claim more
than the table under it. A command is rebuilt from what the records say of each run, since no record
keeps the words that were typed; what it cannot know (where files were) it names as such, and the
run ids, which hash everything that made a run, tell whether the repetition is one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench.reporting.formatting import listing, quoted
from bench.settings import as_mapping
from bench.spec import SIZES

if TYPE_CHECKING:
    from bench.reporting.table import Row, Table

_LONGEST = 300
_UNITS = {"tokens": "", "predictions": "pred", "flops": "flop", "seconds": "s"}


def verdict(table: Table) -> str:
    """The one sentence that the table carries: over all tasks together where it can be said."""
    trained = [entry for entry in table.rows if entry.kind == "trained" and entry.finished]
    if not table.aggregates or len({entry.runs for entry in trained}) < 2:
        return by_task(table)
    overall = table.aggregates[0]
    rivals = [name for name in overall.rows if name in {entry.name for entry in trained}]
    if max(overall.seeds) < 2:
        return by_task(table)
    best = max(rivals, key=lambda name: overall.of(name)[0].mean)
    level = [
        name
        for name in rivals
        if name != best and {*overall.letters[best]} & {*overall.letters[name]}
    ]
    where = f"over {len(overall.tasks)} tasks together"
    count = len({entry.runs for entry in trained if entry.name in rivals})
    if not level:
        return f"{best} is separably the best of {count} objectives {where}."
    return (
        f"Not separable {where}: {best} scores highest of {count} objectives, but these runs "
        f"cannot tell it from {listing(level)}."
    )


def by_task(table: Table) -> str:
    """What the table carries task by task."""
    trained = [entry for entry in table.rows if entry.kind == "trained" and entry.finished]
    columns = [column.name for column in table.columns]
    if not trained:
        return "No pretrained objective finished here, so there is nothing to choose between."
    if not columns:
        return "No task was asked, so nothing can be said about which objective is better."
    is_by_task = len({column.task for column in table.columns}) == len(columns)
    noun = "task" if is_by_task else "task reading"
    is_one = len(columns) == 1
    total = f"the one {noun}" if is_one else f"{len(columns)} {noun}s"
    anywhere = total if is_one else f"any of the {total}"
    if max(len(entry.finished) for entry in trained) == 1:
        return (
            "Not separable: with one seed, no objective can be called better than another on "
            f"{anywhere}; another seed may turn every gap round."
        )
    runs = {entry.runs for entry in trained}
    if len(runs) == 1:
        return _against_untrained(table, trained[0], total)
    wins: dict[str, list[str]] = {}
    for column, winner in table.best.items():
        wins.setdefault(winner, []).append(column)
    if not wins:
        return (
            f"Not separable: none of the {len(runs)} objectives is above all others by more than "
            f"the 95 % interval of the difference on {anywhere}."
        )
    said = "; ".join(
        f"{winner} is separably best on "
        + (f"{len(won)} of {total} ({listing(won)})" if len(won) < len(columns) else
           total if is_one else f"all {total}")
        for winner, won in wins.items()
    )  # fmt: skip
    left = len(columns) - len(table.best)
    return said + (f"; on the other {left}, who leads is not separable." if left else ".")


def _against_untrained(table: Table, entry: Row, total: str) -> str:
    """The sentence for a single objective: what it learned beyond its own beginning."""
    control = next((other for other in table.rows if other.kind == "untrained"), None)
    if control is None:
        return f"{entry.name} stands alone here: nothing was pretrained beside it on {total}."
    gaps = {c.name: table.difference(entry.name, control.name, c.name) for c in table.columns}
    sure = {name: gap.mean > 0 for name, gap in gaps.items() if gap and gap.is_significant}
    parts = [
        f"separably {where} {control.name} on {len(names)} ({listing(names)})"
        for where, is_above in (("above", True), ("below", False))
        if (names := [name for name, above in sure.items() if above is is_above])
    ]
    if not parts:
        return f"Not separable: on {total}, {entry.name} cannot be told from {control.name}."
    rest = len(gaps) - len(sure)
    tail = f", and not separable on the other {rest}" if rest else ""
    return f"On {total}, {entry.name} is " + " and ".join(parts) + f"{tail}."


def support(table: Table) -> list[str]:
    """What stands behind the verdict: task by task, and beyond the untrained encoder."""
    said = [by_task(table), _learned(table)]
    return [sentence for sentence in said if sentence and sentence != verdict(table)]


def _learned(table: Table) -> str | None:
    """What every objective learned beyond the untrained encoder; None where that is not known."""
    control = next((entry.name for entry in table.rows if entry.kind == "untrained"), None)
    trained = [entry for entry in table.rows if entry.kind == "trained" and entry.finished]
    if control is None or not table.columns or len({entry.runs for entry in trained}) < 2:
        return None
    found = []
    for entry in trained:
        gaps = [table.difference(entry.name, control, column.name) for column in table.columns]
        known = [gap for gap in gaps if gap is not None]
        above = sum(gap.is_significant and gap.mean > 0 for gap in known)
        found.append((above, f"{quoted(entry.name)} on {above} of {len(known)}"))
    found.sort(key=lambda pair: -pair[0])
    return f"Separably above {control}: {listing([text for _, text in found], 8)}."


def provenance(table: Table) -> list[tuple[str, list[str]]]:
    """(what, values found) of all that made the runs; one value where they agree."""
    found: dict[str, dict[str, None]] = {}
    runs = [run.data for entry in table.rows for run in entry.runs]
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
        for what, value in facts.items():
            found.setdefault(what, {})[cut(str(value))] = None
    return [(what, list(values)) for what, values in found.items()]


def questions(table: Table) -> list[tuple[str, str, str]]:
    """(task, sha256 of its data, how its probe was set) of each question asked."""
    return [
        (variant[0], variant[1], cut(_flat(json.loads(variant[2])) or "no settings"))
        for variant in dict.fromkeys(column.variant for column in table.columns)
    ]


def run_ids(table: Table) -> list[tuple[str, list[str]]]:
    """(entry, its runs) of what was pretrained."""
    return [
        (entry.name, [f"{run.data['id']} ({run.data['status']})" for run in entry.runs])
        for entry in table.rows
        if entry.runs and entry.attention == "native"
    ]


def commands(table: Table, out: str) -> list[str]:
    """What to type for the same runs: one command for all, unless settings or seeds differ."""
    batches: list[tuple[list[int], dict[str, Mapping[str, Any]]]] = []
    for entry in table.rows:
        if not entry.runs or entry.attention != "native":
            continue
        seeds = sorted({run.data["seed"] for run in entry.runs})
        changed = _changed(entry)
        for known, members in batches:
            if known == seeds and entry.objective not in members:
                members[entry.objective] = changed
                break
        else:
            batches.append((seeds, {entry.objective: changed}))
    shared = _shared_flags(table)
    lines = []
    for seeds, members in batches:
        named = [("--objective", name) for name in members]
        own = [
            ("--set", f"{name}.{key}={value}")
            for name, changed in members.items()
            for key, value in changed.items()
        ]
        flags = [*named, *shared, ("--seeds", ",".join(map(str, seeds))), *own, ("--out", out)]
        lines.append("bench run " + " ".join(f"{flag} {shlex.quote(v)}" for flag, v in flags))
    return lines


def _changed(entry: Row) -> dict[str, Any]:
    """Settings that are not the default ones: those that its label names."""
    data = entry.runs[0].data
    bracket = re.fullmatch(r"[^\[]*\[(.*)\]", data["display_name"], re.DOTALL)
    named = re.findall(r"(?:^|,)\s*([a-z_0-9]+)=", bracket[1]) if bracket else []
    return {key: data["settings"][key] for key in named if key in data["settings"]}


def _shared_flags(table: Table) -> list[tuple[str, str]]:
    """What all runs of a table have in common."""
    data = next(run.data for entry in table.rows for run in entry.runs)
    budget = data["budget"]
    flags = [
        ("--corpus", str(data.get("corpus", "FILES"))),
        ("--tasks", ",".join(dict.fromkeys(column.task for column in table.columns)) or "none"),
        ("--size", data["size"]),
        ("--budget", f"{budget['amount']:.12g}{_UNITS[budget['axis']]}"),
    ]
    probes = [json.loads(column.variant[2]) for column in table.columns]
    used = [str(probe["probe"]) for probe in probes if "probe" in probe]
    if any(probe != "linear" for probe in used):
        flags.append(("--probe", ",".join(dict.fromkeys(used))))
    limits = {probe["limit"] for probe in probes if probe.get("limit") is not None}
    flags += [("--limit", str(limit)) for limit in sorted(limits, key=str)[:1]]
    size = SIZES.get(data["size"])
    if size is not None:
        for owner in ("encoder", "training"):
            usual = as_mapping(getattr(size, owner))
            given = data["spec"].get(owner)
            for key, value in given.items() if isinstance(given, dict) else ():
                # The vocabulary is the corpus' or the tokenizer's own affair.
                if key in usual and key != "vocab_size" and usual[key] != value:
                    flags.append(("--set", f"{owner}.{key}={value}"))
    return flags


def _flat(value: Any) -> str:
    """A mapping on one line."""
    if not isinstance(value, dict):
        return "unknown" if value is None else str(value)
    return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None)


def cut(text: str, longest: int = _LONGEST) -> str:
    """Printable and of bounded length, whatever a record holds."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}\u2026"


def count(numbers: Iterable[Any], noun: str) -> str:
    """`3 runs`, `1 run`."""
    found = len(list(numbers))
    return f"{found:,} {noun}" + ("" if found == 1 else "s")
