"""One job in a process of its own: pretrain one specification and score it, or score baselines.

The worker reads the file of a job and reports events: to the progress file beside it, and as JSON
lines on standard output to the engine that started it; everything else that prints goes to standard
error. Each run is a process, because a plugin may crash, hang or exhaust the memory, and because
the thread count is a property of a process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bench.engines import events
from bench.engines.job_files import ProgressWriter, load_job, processes_of
from bench.engines.worker.rank_launcher import is_first, is_rank, launch
from bench.errors import BenchError, StoppedError, user_error
from bench.machine import BEAT_SECONDS, STOPPING, die_with_parent, on_beat, silence_seconds

if TYPE_CHECKING:
    from bench.engines.jobs import RunJob
    from bench.pretraining.objective import Objective
    from bench.spec import RunSpec

Report = Callable[[events.Event], None]

_PROGRESS_SECONDS = 0.2
_SAME_SECONDS = 2.0
"""Signals so close together are one wish: a dying parent and the terminal both send one."""


class Stop:
    """Turns SIGINT and SIGTERM into a flag that the loop reads between steps."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._received = 0.0
        for number in STOPPING:
            signal.signal(number, self._receive)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # a forked worker begins with a block

    def _receive(self, number: int, _frame: Any) -> None:
        now = time.monotonic()
        if self._signal is not None and now - self._received > _SAME_SECONDS:
            os._exit(128 + number)  # a second wish: stop at once
        self.request(number)

    def request(self, number: int) -> None:
        """Request a stop, as the first signal does."""
        if self._signal is None:
            self._signal, self._received = number, time.monotonic()

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


def main(file: str) -> int:
    """Do the job of a file for an engine; events go to standard output. Return the exit code."""
    die_with_parent(signal.SIGTERM)  # elsewhere than on Linux the broken pipe shows it
    if not is_rank() and (count := processes_of(Path(file))) > 1:
        return launch(count)
    stop = Stop()
    report = _reporter(stop)
    on_beat(lambda: report(events.Alive()), min(BEAT_SECONDS, silence_seconds() / 4))
    return work(Path(file), report, stop)


def work(file: Path, report: Report, stop: Stop) -> int:
    """Do the job of a file and return the exit code."""
    from bench.engines.jobs import EncoderJob, RunJob
    from bench.engines.worker.scoring import score_baselines, score_encoder

    write: Report | None = None

    def report_both(event: events.Event) -> None:
        if not is_first():  # the first rank reports for all
            if isinstance(event, events.Failure):
                print(f"rank {os.environ['RANK']}: {event.message}", file=sys.stderr)
            return
        if write is not None:
            write(event)
        report(event)

    try:
        job = load_job(file)
        if is_first():
            write = ProgressWriter(file, job.title)
        if isinstance(job, RunJob):
            _run(job, report_both, stop)
        elif isinstance(job, EncoderJob):
            score_encoder(job, report_both, stop.check)
        else:
            score_baselines(job, report_both, stop.check)
    except BenchError as error:
        if write is None and file.is_file() and is_first():  # the engine elsewhere reads the reason
            write = ProgressWriter(file, file.stem)
        report_both(events.Failure(str(error), error.exit_code))
        return error.exit_code
    except Exception as error:
        if (clear := user_error(error)) is not None:
            report_both(events.Failure(str(clear), clear.exit_code))
            return clear.exit_code
        traceback.print_exc()
        report_both(events.Failure(f"{type(error).__name__}: {error}", 1))
        return 1
    return 0


def _reporter(stop: Stop) -> Report:
    """Keep the real standard output for events and redirect all other output to standard error."""
    channel: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(event: events.Event) -> None:
        try:
            # A line begins anew, whatever a plugin wrote to the channel before.
            channel.write(f"\n{event.to_line()}\n")
            channel.flush()
        except BrokenPipeError:  # the parent is gone
            stop.request(signal.SIGTERM)

    return report


def _run(job: RunJob, report: Report, stop: Stop) -> None:
    """Pretrain (or find the run finished), then score what has no score yet."""
    from bench.corpus.preparation import open_prepared
    from bench.engines.worker.scoring import run_subject, score
    from bench.pretraining.ledger import Progress
    from bench.records.run_folder import execute
    from bench.registry import Registry
    from bench.settings import from_mapping

    spec, evaluation = job.spec, job.evaluation
    cls = Registry().get("objective", spec.objective)
    objective = from_mapping(cls, spec.settings, spec.objective)
    _refuse_other_code(spec, objective)
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
        forget=None if evaluation.forget is None else open_prepared(evaluation.forget),
        is_sharded=job.is_sharded,
        facts={"options": [list(pair) for pair in evaluation.options], "tuning": job.tuning},
    )
    if not is_first():
        return
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    status, spent = record["status"], record["spent"]
    figures = spent["steps"], spent["tokens"], spent["seconds"], record["validation_loss"]
    report(events.Pretrained(status, *figures))
    try:
        if status == "finished":
            score(run_subject(spec, objective, folder), evaluation, report, stop.check)
    finally:  # the run has a folder, whatever becomes of its scores
        report(events.Done(spec.id, status))


def _refuse_other_code(spec: RunSpec, objective: Objective) -> None:
    """Refuse to run anything but what was submitted: else a run's id would name another run.

    Raises:
        RefusedError: The code of the objective, or torch, is not that of the submitting process.
    """
    from importlib.metadata import version

    from bench.errors import RefusedError
    from bench.experiment import own_classes
    from bench.settings import code_sha256

    here = version("torch").split("+")[0]
    if here != spec.torch_version:
        raise RefusedError(
            f"{spec.id} was submitted with torch {spec.torch_version}, and this worker has torch "
            f"{here}; install the same version on both, or submit again from here"
        )
    if code_sha256(own_classes(objective)) != spec.objective_code:
        raise RefusedError(
            f"{spec.id}: the code of {spec.objective} is not that of the submitting process; it "
            "was edited, or another version of its plugin is installed here. Submit again"
        )
