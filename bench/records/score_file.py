"""The file of one score: its path and the keys that are known before a task is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.probing.task import NotApplicableError, Score, Splits, Task
from bench.records.scores import score_key, score_path, write_score
from bench.settings import code_sha256


def task_code(task: type[Task]) -> str:
    """The hash of a task's code: that of all its classes."""
    return code_sha256(task.__mro__[:-2])  # without ABC and object


class ScoreFile:
    """One score of a run or of a baseline.

    Args:
        task: The task, with its probe set.
        splits: Its examples as loaded.
        limit: The number of examples per split at most, if there is a limit.
        whose: `run` and `attention`, or `baseline`.
    """

    def __init__(
        self, task: Task, splits: Splits, limit: int | None, whose: Mapping[str, Any]
    ) -> None:
        self._notes = list(getattr(splits, "notes", ()))
        self._base: dict[str, Any] = {
            "format": 2,
            "task": task.name,
            "family": task.family,
            "is_own": task.is_own,
            **({"is_diagnostic": True} if task.is_diagnostic else {}),
            "metric": task.metric_of(splits),
            "chance": task.chance_of(splits),
            "run": None,
            "baseline": None,
            "attention": "native",
            "data_sha256": splits.sha256,
            "probe_settings": task.identity() | ({} if limit is None else {"limit": limit}),
            "task_code_sha256": task_code(type(task)),
            **whose,
        }
        names = ("task", "data_sha256", "probe_settings", "task_code_sha256", "attention")
        self._key = score_key(*(self._base[name] for name in names))

    def path(self, folder: Path) -> Path:
        """The file that exists if and only if the score is done."""
        return score_path(folder, self._base["task"], self._key, self._base["baseline"])

    def write(self, folder: Path, score: Score | NotApplicableError, seconds: float) -> None:
        """Write a score, or the reason why the task does not apply.

        Args:
            folder: The run's folder; for a baseline, the output root.
            score: The score, or the error that says why there is none.
            seconds: Duration of the evaluation.
        """
        record: dict[str, Any] = {"seconds": seconds}
        if isinstance(score, Score):
            record |= {"status": "ok", "value": score.value, "stderr": score.stderr}
            record |= {"metrics": {name: list(pair) for name, pair in score.metrics.items()}}
            notes = {"data_notes": self._notes} if self._notes else {}
            record |= {"details": score.details | notes, "examples": len(score.outcomes)}
            write_score(folder, self._base | record, score.outcomes)
            return
        record |= {"status": "not_applicable", "value": None, "stderr": None, "metrics": {}}
        record |= {"details": {"reason": str(score)}, "examples": 0}
        write_score(folder, self._base | record, None)
