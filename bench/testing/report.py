"""The kit for a person: an item by its name, its findings as text, values and exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from bench.errors import BenchError, unknown_name
from bench.pretraining.objective import Objective
from bench.probing.data.user_tasks import user_task
from bench.probing.task import DataRoot, Task
from bench.registry import Registry
from bench.settings import from_mapping
from bench.spec import parse_overrides
from bench.testing.conformance import examine
from bench.testing.findings import Finding, Status

MARKS = {"passed": "ok", "failed": "FAIL", "not applicable": "-", "not checked": "?"}
CORPUS_WORDS = 250_000
"""Of a corpus without an end of its own, for tasks made from held-out text."""
VOCAB_SIZE = 2048


def report(items: Sequence[Objective | Task], data: DataRoot) -> list[dict[str, Any]]:
    """Examine each item: its kind, name and findings as plain values."""
    return [
        {
            "kind": "objective" if isinstance(item, Objective) else "task",
            "name": item.display_name if isinstance(item, Objective) else item.name,
            "findings": [vars(found) for found in examine(item, data)],
        }
        for item in items
    ]


def exit_code(reports: Sequence[dict[str, Any]]) -> int:
    """1 if anything fails; 4 if nothing does but something could not be tried."""
    found = {finding["status"] for one in reports for finding in one["findings"]}
    return 1 if "failed" in found else 4 if "not checked" in found else 0


def render(reports: Sequence[dict[str, Any]]) -> str:
    """A line a check, what fails told in full, and a count."""
    lines = []
    for one in reports:
        findings = [Finding(**finding) for finding in one["findings"]]
        lines.append(f"{one['name']} ({one['kind']})")
        width = max(len(found.check) for found in findings)
        before = ""
        for found in findings:
            message = "as above" if found.message and found.message == before else found.message
            before = found.message
            said = found.status if found.status in ("not applicable", "not checked") else ""
            text = ": ".join(part for part in (said, message) if part)
            line = f"  {MARKS[found.status]:<4}  {found.check:<{width}}  {text}"
            lines.append(line.rstrip())
        counts = Counter(found.status for found in findings)
        told = [f"{counts[status]} {status}" for status in get_args(Status) if counts[status]]
        lines.append(", ".join(told))
    return "\n".join(lines)


def data_root(folder: Path | None, corpus: Sequence[str] | None, limit: int | None) -> DataRoot:
    """Where a task's examples are; a corpus is prepared, from the cache or into it.

    Raises:
        BenchError: No such folder or corpus.
    """
    from bench.corpus.preparation import default_cache, prepare_corpus
    from bench.corpus.sources import open_corpus

    if folder is not None and not folder.is_dir():
        raise BenchError(f"--data {folder}: no such folder (seen from {Path.cwd()})")
    prepared = None
    if corpus:
        source = open_corpus(corpus, Registry().of("corpus"), num_words=CORPUS_WORDS)
        prepared = prepare_corpus(source, None, VOCAB_SIZE, default_cache()).folder
    return DataRoot(folder, limit, prepared=prepared)


def items_named(name: str, overrides: Sequence[str] = ()) -> list[Objective | Task]:
    """The installed objective or task of a name (or both), or the task of a file, KIND:FILE.

    Args:
        name: As `bench list` shows it.
        overrides: NAME.SETTING=VALUE, for an objective.

    Raises:
        BenchError: Nothing of that name, no such file, a broken plugin, or no such setting.
    """
    if ":" in name:
        task = user_task(name)()
        task.require(DataRoot())
        return [task]
    registry, wanted = Registry(), name.replace("-", "_")
    kinds = [entry.kind for entry in registry.entries if entry.name == wanted]
    if not {"objective", "task"} & set(kinds):
        if None in kinds:
            registry.get("objective", name)  # raises: the plugin is broken, and why
        known = [*registry.of("objective"), *registry.of("task")]
        raise unknown_name("objective or task", name, known, "bench list")
    values = parse_overrides(overrides)
    for owner in values.keys() - {wanted}:
        raise BenchError(f"--set {owner}.…: only {wanted!r} is checked, and only it has settings")
    items: list[Objective | Task] = []
    if "objective" in kinds:
        items.append(from_mapping(registry.get("objective", name), values.get(wanted, {}), wanted))
    if "task" in kinds:
        items.append(registry.get("task", name)())
    return items
