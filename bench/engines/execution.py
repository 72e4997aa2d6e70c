"""The steps of a run: prepare the corpus, check the tasks, run all jobs with an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engines import read_engine
from bench.engines.events import Ended, Event
from bench.engines.job_files import write_jobs
from bench.engines.jobs import BaselinesJob, EncoderJob, Evaluation, Job, JobState, RunJob
from bench.engines.progress import ProgressBars, log
from bench.errors import BenchError
from bench.experiment import UNTRAINED, Experiment
from bench.experiment.tasks import left_out
from bench.records.remote import publish

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.engines import Engine, Watcher


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The final states of the jobs of an experiment."""

    states: list[JobState]
    tasks: list[str]

    @property
    def is_done(self) -> bool:
        """Whether the engine did the jobs; False where it only handed them out."""
        return not self.states or any(state.status != "waiting" for state in self.states)

    @property
    def exit_code(self) -> int:
        """0: all finished; 4: some failed; else the common error code. An interrupt comes first."""
        if not self.is_done:
            return 0
        stopped = [state.exit_code for state in self.states if state.status == "stopped"]
        unfinished = [state for state in self.states if state.status != "finished"]
        if stopped or not unfinished:
            return stopped[0] if stopped else 0
        runs = [state for state in self.states if isinstance(state.job, RunJob)]
        trained = [s for s in runs if s.job.spec.objective != UNTRAINED] or runs  # type: ignore[union-attr]
        if any(state.status == "finished" for state in trained):
            return 4
        codes = {state.exit_code or 4 for state in trained}
        return codes.pop() if len(codes) == 1 else 1

    @property
    def run_ids(self) -> list[str]:
        """Ids of the runs that have a folder."""
        return [state.run_id for state in self.states if state.run_id is not None]


def watcher(
    progress: bool, observe: Watcher | None = None
) -> Callable[[int], AbstractContextManager[Watcher]]:
    """A display of the progress of jobs, which passes all events on to `observe`."""

    @contextmanager
    def watch(num_jobs: int) -> Iterator[Watcher]:
        with ProgressBars(num_jobs) if progress else nullcontext() as bars:
            watchers = [one for one in (bars, observe) if one is not None]

            def pass_on(state: JobState, event: Event) -> None:
                for one in watchers:
                    one(state, event)

            yield pass_on

    return watch


def prepare(
    experiment: Experiment, on_progress: Callable[[str, int], None] | None = None
) -> PreparedCorpus:
    """Token stores of the experiment's corpus, from the cache or built into it."""
    from bench.corpus.preparation import default_cache, prepare_corpus

    return prepare_corpus(
        experiment.corpus,
        experiment.tokenizer,
        experiment.shape.vocab_size,
        default_cache(),
        on_progress,
        experiment.words,
    )


def prepare_all(
    experiments: Iterable[Experiment], on_progress: Callable[[str, int], None] | None = None
) -> list[tuple[Experiment, PreparedCorpus]]:
    """Prepare the corpora of several experiments; equal ones are built once."""
    return [(experiment, prepare(experiment, on_progress)) for experiment in experiments]


def execute(
    experiment: Experiment,
    prepared: PreparedCorpus,
    out: Path,
    watch: Callable[[int], AbstractContextManager[Watcher]],
    allow_inexact: bool = False,
    engine: Engine | None = None,
) -> RunResult:
    """Do all runs of an experiment; finished work is found.

    Raises:
        BenchError: Records cannot be written to `out`, or examples of a task cannot be used.
    """
    experiment = without_tasks(experiment, check_tasks(experiment, prepared))
    jobs = jobs_of(experiment, prepared, out, allow_inexact)
    return RunResult(run_all(jobs, watch, engine), list(experiment.tasks))


def jobs_of(
    experiment: Experiment, prepared: PreparedCorpus, out: Path, allow_inexact: bool = False
) -> list[Job]:
    """The jobs of an experiment, those that take longest first."""
    evaluation = evaluation_of(experiment, prepared, out)
    threads = experiment.training.threads
    trained = {name for name, objective in experiment.objectives.items() if objective.trains}
    # The longest runs start first; short ones fill the end, when cores would be idle.
    specs = sorted(
        experiment.specs(prepared),
        key=lambda spec: -spec.budget.amount * (spec.display_name in trained),
    )
    is_curve = len(experiment.budgets) > 1
    jobs: list[Job] = [
        RunJob(
            spec,
            evaluation,
            allow_inexact,
            is_curve,
            _tuning(experiment, spec.display_name),
            experiment.processes if spec.display_name in trained else 1,
            experiment.is_sharded and spec.display_name in trained,
        )
        for spec in specs
    ]
    if experiment.tasks:
        jobs.append(BaselinesJob(evaluation, threads))
        device = experiment.device
        jobs += [EncoderJob(one, device, evaluation, threads) for one in experiment.encoders]
    return jobs


def run_all(
    jobs: Sequence[Job],
    watch: Callable[[int], AbstractContextManager[Watcher]],
    engine: Engine | None = None,
) -> list[JobState]:
    """Run jobs with an engine, or on this machine."""
    engine = engine or read_engine("local")
    states = [JobState(job) for job in jobs]
    write_jobs(states)
    mirror = states[0].job.evaluation.out if states else None
    with watch(len(jobs)) as shown:

        def watch_and_publish(state: JobState, event: Event) -> None:
            shown(state, event)
            if mirror is not None and isinstance(event, Ended):
                publish(mirror)  # a machine that dies later loses nothing

        engine.run_jobs(states, engine.resources(), watch_and_publish)
    return states


def evaluation_of(experiment: Experiment, prepared: PreparedCorpus, out: Path) -> Evaluation:
    """The tasks of an experiment, with the folder of the records, which is made.

    Raises:
        BenchError: Records cannot be written to `out`.
    """
    from bench.probing.data.user_tasks import reference_of
    from bench.records.store import make_store

    make_store(out)
    data, folder = experiment.data, experiment.data.folder
    return Evaluation(
        out=out.resolve(),
        data=dataclasses.replace(
            data, folder=None if folder is None else folder.resolve(), prepared=prepared.folder
        ),
        tasks=tuple(reference_of(task) for task in experiment.tasks.values()),
        probes=experiment.probes,
        probe_settings=experiment.probe_settings,
        options=experiment.options,
        forget=_prepare_forget(experiment, prepared),
    )


def _prepare_forget(experiment: Experiment, prepared: PreparedCorpus) -> Path | None:
    """The token stores of the second corpus, with the tokenizer of the first."""
    from bench.corpus.preparation import default_cache, prepare_corpus
    from bench.corpus.words.models import MODELS

    if experiment.forget is None:
        return None
    tokenizer, size = prepared.folder / "tokenizer.json", experiment.shape.vocab_size
    words = experiment.words if experiment.words in MODELS else "auto"  # a file is of --corpus
    return prepare_corpus(experiment.forget, tokenizer, size, default_cache(), None, words).folder


def _tuning(experiment: Experiment, name: str) -> dict[str, Any] | None:
    choice = experiment.choices.get(name)
    if choice is None or experiment.tuning is None:
        return None
    return choice.to_json(experiment.tuning.labels, experiment.tuning.on)


def check_tasks(
    experiment: Experiment, prepared: PreparedCorpus, say: Callable[[str], None] = log
) -> dict[str, str]:
    """Load and check the examples of every task before an encoder is trained for them.

    Args:
        experiment: The experiment.
        prepared: Its corpus, for tasks that are made from the held-out part.
        say: Receives a line for each repair of a label file.

    Returns:
        The tasks of suites that cannot be evaluated on this corpus, with the reason.

    Raises:
        BenchError: The reasons why tasks cannot be evaluated, all at once.
    """
    from bench.probing.data.user_kinds import notes_of

    data = dataclasses.replace(experiment.data, prepared=prepared.folder)
    errors: dict[str, BenchError] = {}
    for name, cls in experiment.tasks.items():
        task = cls()
        try:
            splits = task.load(data)
            task.check(splits)
            for note in notes_of(splits):
                say(f"{name}: {note}")
        except BenchError as error:
            errors[name] = error
    return left_out(errors, experiment.tasks, experiment.optional, "cannot be evaluated")


def without_tasks(experiment: Experiment, without: Mapping[str, str]) -> Experiment:
    """The experiment without some tasks, and with the reasons."""
    for name, reason in without.items():
        log(f"left out of the suite: {reason if reason.startswith(name) else f'{name}: {reason}'}")
    tasks = {name: task for name, task in experiment.tasks.items() if name not in without}
    reasons = {**experiment.left_out, **without}
    return dataclasses.replace(experiment, tasks=tasks, left_out=reasons)
