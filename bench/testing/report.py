"""`bench check`: the conformance kit on an item by its name, as text, JSON and an exit code."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from bench.errors import BenchError, unknown_name
from bench.pretraining.objective import Objective
from bench.probing.data.user_tasks import user_task
from bench.probing.task import DataRoot, Task
from bench.registry import Registry
from bench.settings import from_mapping
from bench.spec import parse_overrides
from bench.testing.conformance import examine
from bench.testing.findings import Finding, Status

_SYMBOLS: dict[Status, str] = {
    "passed": "ok", "failed": "FAIL", "not applicable": "-", "not checked": "?",
}  # fmt: skip
_CORPUS_WORDS = 250_000
"""Size of a generated corpus, for tasks that are made from held-out text."""
_VOCAB_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class ItemReport:
    """The findings on one objective or task."""

    kind: Literal["objective", "task"]
    name: str
    findings: list[Finding]


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings on all items of a name."""

    items: list[ItemReport]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, one per item."""
        return [dataclasses.asdict(item) for item in self.items]


def report(items: Sequence[Objective | Task], data: DataRoot) -> Report:
    """Run every check on each item."""
    return Report(
        [
            ItemReport("objective", item.display_name, examine(item, data))
            if isinstance(item, Objective)
            else ItemReport("task", item.name, examine(item, data))
            for item in items
        ]
    )


def exit_code(report: Report) -> int:
    """0: every check passed or does not apply; 1: one failed; 4: one could not run."""
    statuses = {finding.status for item in report.items for finding in item.findings}
    return 1 if "failed" in statuses else 4 if "not checked" in statuses else 0


def render(report: Report) -> str:
    """One line per check, with the message of each failure, and the counts."""
    lines = []
    for item in report.items:
        lines.append(f"{item.name} ({item.kind})")
        width = max(len(finding.check) for finding in item.findings)
        previous = ""
        for finding in item.findings:
            is_repeated = finding.message and finding.message == previous
            previous = finding.message
            status = finding.status if finding.status in ("not applicable", "not checked") else ""
            message = "as above" if is_repeated else finding.message
            text = ": ".join(part for part in (status, message) if part)
            line = f"  {_SYMBOLS[finding.status]:<4}  {finding.check:<{width}}  {text}"
            lines.append(line.rstrip())
        counts = Counter(finding.status for finding in item.findings)
        lines.append(", ".join(f"{counts[s]} {s}" for s in get_args(Status) if counts[s]))
    return "\n".join(lines)


def data_root(folder: Path | None, corpus: Sequence[str] | None, limit: int | None) -> DataRoot:
    """The source of a task's examples; a corpus is prepared, or read from the cache.

    Raises:
        BenchError: No such folder or corpus.
    """
    from bench.corpus.opening import open_corpus
    from bench.corpus.preparation import default_cache, prepare_corpus

    if folder is not None and not folder.is_dir():
        raise BenchError(f"--data {folder}: no such folder (looked up from {Path.cwd()})")
    prepared = None
    if corpus:
        source = open_corpus(corpus, Registry().of("corpus"), num_words=_CORPUS_WORDS)
        prepared = prepare_corpus(source, None, _VOCAB_SIZE, default_cache()).folder
    return DataRoot(folder, limit, prepared=prepared)


def is_plugin(name: str) -> bool:
    """Whether a name is that of a plugin, or KIND:FILE."""
    return ":" in name or any(p.name == name.replace("-", "_") for p in Registry().plugins)


def items_named(name: str, overrides: Sequence[str] = ()) -> list[Objective | Task]:
    """The installed objective or task of a name (or both), or the task of KIND:FILE.

    Args:
        name: A name that `bench list` shows, or KIND:FILE as for `--task`.
        overrides: NAME.SETTING=VALUE, for an objective.

    Raises:
        BenchError: No such name, file or setting, or a broken plugin.
    """
    if ":" in name:
        task = user_task(name)()
        task.require(DataRoot())
        return [task]
    registry, python_name = Registry(), name.replace("-", "_")
    kinds = [plugin.kind for plugin in registry.plugins if plugin.name == python_name]
    if not {"objective", "task"} & set(kinds):
        if None in kinds:
            registry.get("objective", name)  # raises, with the reason why the plugin is broken
        known = [*registry.of("objective"), *registry.of("task")]
        raise unknown_name("objective or task", name, known, "bench list")
    values = parse_overrides(overrides)
    for owner in values.keys() - {python_name}:
        raise BenchError(
            f"--set {owner}.…: only {python_name!r} is checked, so only its settings apply"
        )
    items: list[Objective | Task] = []
    if "objective" in kinds:
        cls = registry.get("objective", name)
        items.append(from_mapping(cls, values.get(python_name, {}), python_name))
    if "task" in kinds:
        items.append(registry.get("task", name)())
    return items
