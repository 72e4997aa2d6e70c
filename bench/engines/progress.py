"""The display while runs are in progress: one bar per worker, drawn by the parent alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.corpus.partition import one_text
from bench.engines import events
from bench.reporting.formatting import printable

if TYPE_CHECKING:
    from types import TracebackType

    from bench.corpus.preparation import PreparedCorpus
    from bench.engines.events import Event
    from bench.engines.jobs import JobState
    from bench.experiment import Experiment

STDERR = Console(stderr=True, highlight=False, soft_wrap=True)
_LOG_SHARE = 0.25  # without a terminal: one line per quarter of a run


def log(text: str) -> None:
    """Write one line for the person, on standard error."""
    STDERR.print(_shown(text), markup=False)


def _shown(text: str) -> str:
    """Text of a plugin, or with a name, without escape codes; lines stay lines."""
    return "\n".join(map(printable, text.split("\n")))


class ProgressBars:
    """A live progress bar for each worker; plain lines where there is no terminal or notebook."""

    def __init__(self, num_jobs: int) -> None:
        self._num_jobs, self._num_ended = num_jobs, 0
        self._bars: dict[str, TaskID] = {}
        self._logged: dict[str, float] = {}
        self._is_live = STDERR.is_terminal or STDERR.is_jupyter
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=STDERR,
            disable=not self._is_live,
        )

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, state: JobState, event: Event) -> None:
        """Show one event of one job."""
        title = state.job.title
        match event:
            case events.Started():
                self._bars[state.job.id] = self._progress.add_task(title, total=1.0, note="")
            case events.Progress():
                self._advance(state, event)
            case events.Scoring():
                attention = "" if event.attention == "native" else f", {event.attention}"
                self._note(state, f"scoring {event.task}{attention}")
            case events.Note():
                self._progress.console.print(_shown(f"{title}: {event.text}"), markup=False)
            case events.Ended():
                self._end(state)

    def _advance(self, state: JobState, event: events.Progress) -> None:
        note = f"loss {event.nats:.3f}  {event.tokens_per_second / 1e3:.1f}k tokens/s"
        self._progress.update(self._bars[state.job.id], completed=event.share, note=note)
        logged = self._logged.get(state.job.id, 0.0)
        if not self._is_live and event.share >= logged + _LOG_SHARE:
            self._logged[state.job.id] = event.share // _LOG_SHARE * _LOG_SHARE
            STDERR.print(f"{state.job.title}: {event.share:.0%}  {note}", markup=False)

    def _note(self, state: JobState, note: str) -> None:
        self._progress.update(self._bars[state.job.id], note=note)

    def _end(self, state: JobState) -> None:
        self._num_ended += 1
        if state.job.id in self._bars:  # its process was started
            self._progress.remove_task(self._bars.pop(state.job.id))
        reason = f": {state.message}" if state.message else ""
        line = f"[{self._num_ended}/{self._num_jobs}] {state.job.title} {state.status}{reason}"
        self._progress.console.print(_shown(line), markup=False)


class LogLines:
    """The events of one job as plain lines."""

    def __init__(self) -> None:
        self._logged = 0.0

    def __call__(self, event: Event) -> None:
        """Log one event."""
        match event:
            case events.Progress() if event.share >= self._logged + _LOG_SHARE:
                self._logged = event.share // _LOG_SHARE * _LOG_SHARE
                rate = event.tokens_per_second / 1e3
                log(f"{event.share:.0%}  loss {event.nats:.3f}  {rate:.1f}k tokens/s")
            case events.Scored():
                log(f"scored {event.title}")
            case events.Note():
                log(event.text)
            case events.Failure():
                log(f"bench: {event.message}")
            case events.Done():
                log(f"{event.run_id or 'scores'} {event.status}")


def log_stages() -> Callable[[str, int], None]:
    """A callback that logs a line each time the preparation of a corpus enters a new stage."""
    stages: set[str] = set()

    def on_progress(stage: str, _documents: int) -> None:
        if stage not in stages:
            stages.add(stage)
            log(f"corpus: {stage} ...")

    return on_progress


def log_corpus(experiment: Experiment, prepared: PreparedCorpus) -> None:
    """Log the corpus, the documents that were skipped, and how often the budget repeats it."""
    tokens = prepared.train.num_tokens
    log(
        f"corpus {prepared.name}: {prepared.documents:,} documents, {tokens:,} training tokens, "
        f"vocabulary {prepared.tokenizer.vocabulary.size:,}; "
        f"budget {', '.join(map(str, experiment.budgets))}"
    )
    if experiment.corpus.note:
        log(f"  documents: {experiment.corpus.note}")
    if prepared.copies:
        log(f"  {prepared.copies:,} documents have the text of another one")
    if prepared.words is not None:
        log(f"  {prepared.words.label}")
        for warning in prepared.words.warnings():
            log(f"  warning: {warning}")
    for kind, count in sorted(prepared.skipped.items()):
        log(f"  skipped or repaired: {kind} {count:,}")
    if prepared.heldout is None:
        log(
            f"  warning: the corpus is {one_text(prepared.documents)}, so there is no held-out "
            "part and no validation loss; --documents sets what one document is"
        )
    if experiment.budget.axis == "tokens" and experiment.budget.amount > 4 * tokens:
        epochs = experiment.budget.amount / tokens
        log(f"  warning: the budget reads this corpus {epochs:.1f} times; expect overfitting")
