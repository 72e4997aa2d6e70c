"""One task that fails keeps no other task from being scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.engines import events
from bench.engines.jobs import BaselinesJob, Evaluation
from bench.engines.worker import scoring
from bench.engines.worker.worker import Stop
from bench.errors import BenchError, FailedError, StoppedError
from bench.probing.task import DataRoot
from bench.storage import write_manifest


class _Task:
    def __init__(self, reference: str) -> None:
        self.name = reference

    def load(self, _: Any) -> Any:
        if self.name == "broken":
            raise ValueError("a fault of the plugin")
        if self.name == "unusable":
            raise BenchError("labels.csv has one class")
        if self.name == "stopped":
            raise StoppedError("stopped")
        return self

    def baselines(self, *_: Any) -> dict[str, Any]:
        return {}


def done(tasks: tuple[str, ...], tmp_path: Path, patch: pytest.MonkeyPatch) -> list[str]:
    class File:
        def __init__(self, *_: Any) -> None: ...

        def path(self, _: Path) -> Path:
            return tmp_path / "absent"

    patch.setattr("bench.records.score_file.ScoreFile", File)
    patch.setattr("bench.probing.data.user_tasks.task_class", lambda name, _: lambda: _Task(name))
    patch.setattr(scoring, "_noise", lambda splits: None)
    said: list[str] = []

    def report(event: events.Event) -> None:
        said.append(event.task if isinstance(event, events.Scoring) else event.name)

    try:
        scoring.score_baselines(
            BaselinesJob(Evaluation(tmp_path, DataRoot(), tasks)), report, lambda: None
        )
    except FailedError as error:
        said.append(f"{error.exit_code} {error}")
    return said


def test_tasks_that_fail_are_named_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = done(("broken", "good", "unusable", "better"), tmp_path, monkeypatch)
    assert said == [
        "good", "better", "done",
        "4 scored, but for 2 tasks: broken: a fault of the plugin; unusable: labels.csv has one "
        "class",
    ]  # fmt: skip
    assert done(("good",), tmp_path, monkeypatch) == ["good", "done"]
    with pytest.raises(StoppedError):
        done(("stopped", "good"), tmp_path, monkeypatch)


def test_a_score_after_a_stage_belongs_to_the_corpus(tmp_path: Path) -> None:
    whose = {"baseline": "encoder_minilm_01234567", "encoder": {"name": "minilm", "sha256": "ab"}}
    names = []
    for corpus in ("a", "b"):
        (tmp_path / corpus).mkdir()
        hashes = {"corpus_sha256": corpus, "tokenizer_sha256": "t"}
        write_manifest(tmp_path / corpus, [], **hashes)
        keys = scoring._after_stage(whose, tmp_path / corpus)
        assert keys["encoder"] == {**whose["encoder"], "stage": hashes}
        names.append(keys["baseline"])
    assert names[0] != names[1]
    assert all(name.startswith("encoder_minilm_01234567_") for name in names)


def test_signals_close_together_are_one_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    previous = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = Stop()
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert not ended
        with pytest.raises(StoppedError):
            stop.check()
        stop._received -= 60
        signal.raise_signal(signal.SIGTERM)
        assert ended == [128 + signal.SIGTERM]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
