"""One job in a process of its own: pretrain one specification and score it, or compute controls.

Reads a job as JSON on standard input and reports as JSON lines on standard output; whatever else
prints goes to standard error. A process a run, because a plugin may crash, hang or take all the
memory, and because the thread count is a property of a process.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from bench.errors import BenchError, StoppedError

if TYPE_CHECKING:
    from bench.pretraining.noise import Noise
    from bench.probing.task import DataRoot, NotApplicableError, Reader, Score, Splits, Task

Report = Callable[[Mapping[str, Any]], None]

MAJORITY = "majority"
_PROGRESS_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class Stop:
    """Turns SIGINT and SIGTERM into a question the loop asks between steps."""

    def __init__(self) -> None:
        self._signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: Any) -> None:
        if self._signal is not None:  # asked twice: now
            os._exit(128 + number)
        self.request(number)

    def request(self, number: int) -> None:
        """Ask for a stop, as the signal would the first time."""
        self._signal = self._signal or number

    def __call__(self) -> BaseException | None:
        if self._signal is None:
            return None
        error = StoppedError("stopped; the state is saved and the same command goes on from here")
        if self._signal == signal.SIGINT:
            error.exit_code = 130
        return error

    def check(self) -> None:
        """Raise if asked to stop."""
        error = self()
        if error is not None:
            raise error


def main() -> int:
    """Do the job on standard input."""
    stop = Stop()
    _die_with_parent()
    report = _reporter(stop)
    try:
        job = json.load(sys.stdin)
        {"run": _run, "baselines": _controls}[job["kind"]](job, report, stop)
    except BenchError as error:
        report({"event": "error", "message": str(error), "exit_code": error.exit_code})
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        report({"event": "error", "message": message, "exit_code": 1})
        return 1
    return 0


def _die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent dies, however it dies; elsewhere the pipe tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _reporter(stop: Stop) -> Report:
    """Keep the real standard output for reports and give everybody else standard error."""
    channel: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(event: Mapping[str, Any]) -> None:
        try:
            channel.write(json.dumps(event) + "\n")
            channel.flush()
        except BrokenPipeError:  # the parent is gone
            stop.request(signal.SIGTERM)

    return report


def _run(job: dict[str, Any], report: Report, stop: Stop) -> None:
    """Pretrain (or find it done), then score what has no score yet."""
    from bench.corpus.preparation import open_prepared
    from bench.pretraining.loop import Progress
    from bench.records.run_folder import execute
    from bench.registry import Registry
    from bench.settings import from_mapping
    from bench.spec import RunSpec

    registry = Registry()
    spec = RunSpec.from_json(job["spec"])
    objective = from_mapping(
        registry.get("objective", spec.objective), spec.settings, spec.objective
    )
    last = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal last
        if progress.share >= 1.0 or time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            report({"event": "progress", **vars(progress)})

    folder = execute(
        spec,
        objective,
        open_prepared(Path(job["prepared"])),
        Path(job["out"]) / "runs",
        on_progress,
        stop,
        say=lambda text: report({"event": "note", "text": text}),
        allow_inexact=job["allow_inexact"],
    )
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    report({"event": "pretrained", "run": spec.id, "status": record["status"]})
    if record["status"] == "finished":
        _score(job, folder, objective, registry, report, stop)
    report({"event": "done", "run": spec.id, "status": record["status"]})


def _score(
    job: dict[str, Any],
    folder: Path,
    objective: Any,
    registry: Any,
    report: Report,
    stop: Stop,
) -> None:
    from bench.probing.data.user_tasks import task_class
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import NotApplicableError
    from bench.records.score_file import ScoreFile
    from bench.records.run_folder import load_run

    readers: dict[str, Reader] = {}
    attentions = _attentions(objective.attention)
    device = job["spec"]["device"]
    for reference in job["tasks"]:
        task: Task = task_class(reference, registry)()
        splits = task.load(_data_root(job))
        ways = itertools.product(job["probes"] if task.probes else (task.probe,), attentions)
        for task.probe, attention in ways:
            stop.check()
            key = ScoreFile(task, splits, job["data"], {"attention": attention, "run": folder.name})
            if key.path(folder).is_file():
                continue
            report({"event": "scoring", "task": task.name, "attention": attention})
            started = time.perf_counter()
            if not readers:
                loaded = load_run(folder, objective, device)
                for kind in attentions:
                    readers[kind] = RunReader(*loaded, objective.scoring, objective.attention, kind)
            try:
                score = task.score(readers[attention], splits, _noise(splits))
                answer: Score | NotApplicableError = _compared(score, splits, job)
            except NotApplicableError as reason:
                answer = reason
            key.write(folder, answer, time.perf_counter() - started)


def _attentions(pattern: str) -> tuple[Literal["native", "bidirectional"], ...]:
    """A causal run is read as trained and, a second time, with full attention."""
    return ("native", "bidirectional") if pattern == "causal" else ("native",)


def _controls(job: dict[str, Any], report: Report, stop: Stop) -> None:
    """What needs no encoder, once a task. Majority is written last: where it is, all are."""
    from bench.probing.data.user_tasks import task_class
    from bench.records.score_file import ScoreFile
    from bench.registry import Registry

    registry, out = Registry(), Path(job["out"])
    for reference in job["tasks"]:
        stop.check()
        task: Task = task_class(reference, registry)()
        splits = task.load(_data_root(job))
        if ScoreFile(task, splits, job["data"], {"baseline": MAJORITY}).path(out).is_file():
            continue
        report({"event": "scoring", "task": task.name, "attention": "native"})
        started = time.perf_counter()
        found = task.baselines(splits, _noise(splits))
        seconds = (time.perf_counter() - started) / max(len(found), 1)
        for baseline in sorted(found, key=lambda name: name == MAJORITY):
            ScoreFile(task, splits, job["data"], {"baseline": baseline}).write(
                out, _compared(found[baseline], splits, job), seconds
            )
    report({"event": "done", "run": None, "status": "finished"})


def _compared(score: Score, splits: Splits, job: dict[str, Any]) -> Score:
    """The score with what the corpus already holds of the test."""
    from bench.probing.data.overlap import corpus_overlap, with_overlap

    return with_overlap(score, corpus_overlap(Path(job["prepared"]), splits))


def _data_root(job: dict[str, Any]) -> DataRoot:
    from bench.probing.task import DataRoot

    data = job["data"]
    folder = data["folder"] and Path(data["folder"])
    return DataRoot(folder, data["limit"], data["size"], Path(job["prepared"]))


def _noise(splits: Splits) -> Noise:
    """Probing's own noise: the same for every run, so that outcomes are paired."""
    import torch

    from bench.pretraining.noise import Noise

    return Noise(0, 0, torch.arange(len(splits.test)))


if __name__ == "__main__":
    sys.exit(main())
