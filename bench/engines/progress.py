"""What a person sees while `bench run` works: one line a worker, drawn by the parent alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType

    from rich.text import Text

    from bench.engines.local import Job

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)
_LOG_SHARE = 0.25  # without a terminal: a line a quarter of a run


class Board:
    """A live progress bar for each worker; plain lines where there is no terminal."""

    def __init__(self, num_jobs: int) -> None:
        self._num_jobs, self._num_done = num_jobs, 0
        self._bars: dict[str, TaskID] = {}
        self._logged: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=STDERR,
            disable=not STDERR.is_terminal,
        )

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, job: Job, event: dict[str, Any]) -> None:
        """Show one report of one worker."""
        match event["event"]:
            case "started":
                self._bars[job.title] = self._progress.add_task(job.title, total=1.0, note="")
            case "progress":
                self._advance(job, event)
            case "scoring":
                read = "" if event["attention"] == "native" else f", {event['attention']}"
                self._note(job, f"asking {event['task']}{read}")
            case "note":
                self._progress.console.print(f"{job.title}: {event['text']}", markup=False)
            case "end":
                self._end(job)

    def _advance(self, job: Job, event: dict[str, Any]) -> None:
        note = f"loss {event['nats']:.3f}  {event['tokens_per_second'] / 1e3:.1f}k tokens/s"
        self._progress.update(self._bars[job.title], completed=event["share"], note=note)
        logged = self._logged.get(job.title, 0.0)
        if not STDERR.is_terminal and event["share"] >= logged + _LOG_SHARE:
            self._logged[job.title] = event["share"] // _LOG_SHARE * _LOG_SHARE
            STDERR.print(f"{job.title}: {event['share']:.0%}  {note}", markup=False)

    def _note(self, job: Job, note: str) -> None:
        self._progress.update(self._bars[job.title], note=note)

    def _end(self, job: Job) -> None:
        self._num_done += 1
        self._progress.remove_task(self._bars.pop(job.title))
        reason = f": {job.message}" if job.message else ""
        line = f"[{self._num_done}/{self._num_jobs}] {job.title} {job.status}{reason}"
        self._progress.console.print(line, markup=False)


def say(text: str) -> None:
    """A line for the person, on standard error."""
    STDERR.print(text, markup=False)


def width_of_stdout() -> int:
    """Columns to fit a table into."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else 100


def print_lines(lines: Iterable[Text]) -> None:
    """Styled lines on standard output: with colours on a terminal that wants them."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)
