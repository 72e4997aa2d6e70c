"""The file of one score: where it lies, and what of its record is known before probing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.probing.task import NotApplicableError, Score, Splits, Task
from bench.records.store import score_key, score_path, write_score
from bench.settings import code_sha256


class ScoreFile:
    """One score of a run, or of a baseline (`whose` names either).

    Args:
        task: The task, with its probe set.
        splits: Its examples as loaded.
        data: The limit on examples, under `limit`.
        whose: `run` and `attention`, or `baseline`.
    """

    def __init__(
        self, task: Task, splits: Splits, data: Mapping[str, Any], whose: Mapping[str, Any]
    ) -> None:

        limit = {} if data["limit"] is None else {"limit": data["limit"]}
        self._base: dict[str, Any] = {
            "format": 2,
            "task": task.name,
            "family": task.family,
            "metric": task.metric,
            "chance": task.chance,
            "run": None,
            "baseline": None,
            "attention": "native",
            "data_sha256": splits.sha256,
            "probe_settings": task.identity() | limit,
            "task_code_sha256": code_sha256(type(task).__mro__[:-2]),  # without ABC and object
            **whose,
        }
        names = ("task", "data_sha256", "probe_settings", "task_code_sha256", "attention")
        self._key = score_key(*(self._base[name] for name in names))

    def path(self, folder: Path) -> Path:
        """The file that exists if and only if the score is done."""
        return score_path(folder, self._base["task"], self._key, self._base["baseline"])

    def write(self, folder: Path, answer: Score | NotApplicableError, seconds: float) -> None:
        """Write a score, or the reason why the task does not apply."""
        found: dict[str, Any] = {"seconds": seconds}
        if isinstance(answer, Score):
            found |= {"status": "ok", "value": answer.value, "stderr": answer.stderr}
            found |= {"metrics": {name: list(pair) for name, pair in answer.metrics.items()}}
            found |= {"details": answer.details, "examples": len(answer.outcomes)}
            write_score(folder, self._base | found, answer.outcomes)
            return
        found |= {"status": "not_applicable", "value": None, "stderr": None, "metrics": {}}
        found |= {"details": {"reason": str(answer)}, "examples": 0}
        write_score(folder, self._base | found, None)
