"""One job in a process of its own: pretrain one specification and score it, or score baselines.

The worker reads a job as JSON on standard input and reports events as JSON lines on standard
output; everything else that prints goes to standard error. Each run is a process, because a plugin
may crash, hang or exhaust the memory, and because the thread count is a property of a process.
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
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from bench.engines import events
from bench.errors import BenchError, StoppedError

if TYPE_CHECKING:
    from bench.engines.jobs import BaselinesJob, Evaluation, RunJob
    from bench.pretraining.noise import Noise
    from bench.pretraining.objective import Objective
    from bench.probing.task import NotApplicableError, Reader, Score, Splits, Task
    from bench.registry import Registry

Report = Callable[[events.Event], None]

MAJORITY = "majority"
_PROGRESS_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class Stop:
    """Turns SIGINT and SIGTERM into a flag that the loop reads between steps."""

    def __init__(self) -> None:
        self._signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: Any) -> None:
        if self._signal is not None:  # the second signal: stop at once
            os._exit(128 + number)
        self.request(number)

    def request(self, number: int) -> None:
        """Request a stop, as the first signal does."""
        self._signal = self._signal or number

    def __call__(self) -> BaseException | None:
        """The error to raise where a stop was requested."""
        if self._signal is None:
            return None
        error = StoppedError("stopped; the state is saved and the same command resumes from here")
        if self._signal == signal.SIGINT:
            error.exit_code = 130
        return error

    def check(self) -> None:
        """Raise where a stop was requested."""
        error = self()
        if error is not None:
            raise error


def main() -> int:
    """Do the job on standard input and return the exit code."""
    from bench.engines.jobs import RunJob, read_job

    stop = Stop()
    _die_with_parent()
    report = _reporter(stop)
    try:
        job = read_job(json.load(sys.stdin))
        if isinstance(job, RunJob):
            _run(job, report, stop)
        else:
            _score_baselines(job, report, stop)
    except BenchError as error:
        report(events.Failure(str(error), error.exit_code))
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        report(events.Failure(f"{type(error).__name__}: {error}", 1))
        return 1
    return 0


def _die_with_parent() -> None:
    """Make Linux send SIGTERM when the parent dies; elsewhere the broken pipe shows it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _reporter(stop: Stop) -> Report:
    """Keep the real standard output for events and redirect all other output to standard error."""
    channel: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(event: events.Event) -> None:
        try:
            channel.write(event.to_line() + "\n")
            channel.flush()
        except BrokenPipeError:  # the parent is gone
            stop.request(signal.SIGTERM)

    return report


def _run(job: RunJob, report: Report, stop: Stop) -> None:
    """Pretrain (or find the run finished), then score what has no score yet."""
    from bench.corpus.preparation import open_prepared
    from bench.pretraining.loop import Progress
    from bench.records.run_folder import execute
    from bench.registry import Registry
    from bench.settings import from_mapping

    registry, spec, evaluation = Registry(), job.spec, job.evaluation
    objective = from_mapping(
        registry.get("objective", spec.objective), spec.settings, spec.objective
    )
    last_report = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal last_report
        if progress.share >= 1.0 or time.monotonic() - last_report >= _PROGRESS_SECONDS:
            last_report = time.monotonic()
            report(events.Progress(**vars(progress)))

    assert evaluation.data.prepared is not None
    folder = execute(
        spec,
        objective,
        open_prepared(evaluation.data.prepared),
        evaluation.out / "runs",
        on_progress,
        stop,
        on_note=lambda text: report(events.Note(text)),
        allow_inexact=job.allow_inexact,
        facts={"options": [list(pair) for pair in evaluation.options], "tuning": job.tuning},
    )
    status = json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"]
    if status == "finished":
        _score(job, folder, objective, registry, report, stop)
    report(events.Done(spec.id, status))


def _score(
    job: RunJob,
    folder: Path,
    objective: Objective,
    registry: Registry,
    report: Report,
    stop: Stop,
) -> None:
    """Score every task with every probe and attention that has no score yet."""
    from bench.probing.data.user_tasks import task_class
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import NotApplicableError
    from bench.records.run_folder import load_run
    from bench.records.score_file import ScoreFile

    readers: dict[str, Reader] = {}
    attentions, evaluation = _attentions(objective.attention), job.evaluation
    for reference, settings in itertools.product(evaluation.tasks, evaluation.probe_settings):
        task: Task = task_class(reference, registry)()
        task.configure(settings)
        splits = task.load(evaluation.data)
        probes = evaluation.probes if task.probes else (task.probe,)
        for task.probe, attention in itertools.product(probes, attentions):
            stop.check()
            whose = {"attention": attention, "run": folder.name}
            file = ScoreFile(task, splits, evaluation.data.limit, whose)
            if file.path(folder).is_file():
                continue
            report(events.Scoring(task.name, attention))
            started = time.perf_counter()
            if not readers:
                loaded = load_run(folder, objective, job.spec.device)
                for kind in attentions:
                    readers[kind] = RunReader(*loaded, objective.scoring, objective.attention, kind)
            answer: Score | NotApplicableError
            try:
                score = task.score(readers[attention], splits, _noise(splits))
                answer = _with_corpus_overlap(score, splits, evaluation)
            except NotApplicableError as reason:
                answer = reason
            file.write(folder, answer, time.perf_counter() - started)


def _attentions(pattern: str) -> tuple[Literal["native", "bidirectional"], ...]:
    """A causal run is probed as trained and, a second time, with full attention."""
    return ("native", "bidirectional") if pattern == "causal" else ("native",)


def _score_baselines(job: BaselinesJob, report: Report, stop: Stop) -> None:
    """Score each task's baselines. Majority is written last: if its file exists, all others do."""
    from bench.probing.data.user_tasks import task_class
    from bench.records.score_file import ScoreFile
    from bench.registry import Registry

    registry, evaluation = Registry(), job.evaluation
    limit = evaluation.data.limit
    for reference in evaluation.tasks:
        stop.check()
        task: Task = task_class(reference, registry)()
        splits = task.load(evaluation.data)
        if ScoreFile(task, splits, limit, {"baseline": MAJORITY}).path(evaluation.out).is_file():
            continue
        report(events.Scoring(task.name))
        started = time.perf_counter()
        scores = task.baselines(splits, _noise(splits))
        seconds = (time.perf_counter() - started) / max(len(scores), 1)
        for baseline in sorted(scores, key=lambda name: name == MAJORITY):
            file = ScoreFile(task, splits, limit, {"baseline": baseline})
            score = _with_corpus_overlap(scores[baseline], splits, evaluation)
            file.write(evaluation.out, score, seconds)
    report(events.Done(None, "finished"))


def _with_corpus_overlap(score: Score, splits: Splits, evaluation: Evaluation) -> Score:
    """The score with the share of test examples that overlap with the corpus."""
    from bench.probing.overlap import corpus_overlap, with_overlap

    assert evaluation.data.prepared is not None
    return with_overlap(score, corpus_overlap(evaluation.data.prepared, splits))


def _noise(splits: Splits) -> Noise:
    """The noise of probing: equal for every run, so that outcomes are paired."""
    import torch

    from bench.pretraining.noise import Noise

    return Noise(0, 0, torch.arange(len(splits.test)))


if __name__ == "__main__":
    sys.exit(main())
