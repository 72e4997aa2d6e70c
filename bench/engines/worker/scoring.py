"""The evaluation of encoders in a worker: of a run, of a public encoder, and of the baselines.

A score whose file exists is not computed again, and an encoder is loaded only for a missing score.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.engines import events
from bench.errors import FailedError
from bench.settings import sha256_json
from bench.storage import read_manifest

if TYPE_CHECKING:
    from bench.engines.jobs import BaselinesJob, EncoderJob, Evaluation
    from bench.pretraining.noise import Noise
    from bench.pretraining.objective import Objective
    from bench.probing.task import NotApplicableError, Reader, Score, Splits, Task
    from bench.registry import Registry
    from bench.spec import Init, RunSpec

Report = Callable[[events.Event], None]
AttentionName = Literal["native", "bidirectional"]

MAJORITY = "majority"


@dataclasses.dataclass(frozen=True)
class Subject:
    """An encoder that is scored."""

    folder: Path
    """The run's folder; for a public encoder, the output root."""
    whose: Mapping[str, Any]
    """The keys of its scores."""
    attentions: tuple[AttentionName, ...]
    open_reader: Callable[[AttentionName, Path | None], Reader]
    """Opens a reader with an attention, and with the prepared corpus for a contrastive stage."""
    is_pretrained_here: bool
    """Whether it has read the corpus, so that test examples may overlap with it."""


def run_subject(spec: RunSpec, objective: Objective, folder: Path) -> Subject:
    """A finished run; a causal one is probed as trained and, a second time, with full attention."""
    import functools

    from bench.pretraining.checkpoints.modules import head_scoring, native_attention
    from bench.probing.reader.reader import RunReader
    from bench.records.run_folder import load_run

    loaded = functools.cache(lambda: load_run(folder, objective, spec.device))
    scoring, pattern = head_scoring(spec, objective), native_attention(spec, objective)
    return Subject(
        folder,
        {"run": folder.name},
        ("native", "bidirectional") if pattern == "causal" else ("native",),
        lambda attention, prepared: RunReader(*loaded(), scoring, pattern, attention, prepared),
        is_pretrained_here=True,
    )


class _Failures:
    """The tasks that could not be scored; they do not keep the others from being scored."""

    def __init__(self) -> None:
        self._reasons: dict[str, Exception] = {}

    @contextlib.contextmanager
    def of(self, reference: str) -> Iterator[None]:
        """Note an error of one task; a stop and a damaged or full disk are passed on."""
        from bench.errors import BenchError, RefusedError, StoppedError

        try:
            yield
        except (StoppedError, RefusedError, FailedError):
            raise
        except Exception as error:
            if not isinstance(error, BenchError):
                traceback.print_exc()  # a fault of the task's code
            self._reasons.setdefault(reference, error)

    def raise_all(self) -> None:
        """Say which tasks could not be scored.

        Raises:
            FailedError: There are some.
        """
        if not self._reasons:
            return
        reasons = "; ".join(
            f"{reference}: {error if str(error) else type(error).__name__}"
            for reference, error in self._reasons.items()
        )
        failed = FailedError(f"scored, but for {len(self._reasons)} tasks: {reasons}")
        failed.exit_code = 4
        raise failed


def encoder_subject(init: Init, device: str, out: Path) -> Subject:
    """A public encoder, frozen; its scores lie beside those of the baselines."""

    def open_reader(attention: AttentionName, prepared: Path | None) -> Reader:
        from bench.corpus.tokenizer import TextTokenizer
        from bench.pretraining.checkpoints.modules import load_checkpoint_modules
        from bench.pretraining.checkpoints.source import open_checkpoint
        from bench.probing.reader.reader import RunReader

        checkpoint = open_checkpoint(init.folder)
        encoder, head = load_checkpoint_modules(init, checkpoint.shape)
        head = None if head is None else head.to(device)
        tokenizer = TextTokenizer.from_file(checkpoint.tokenizer)
        modules = encoder.to(device), head, tokenizer
        return RunReader(*modules, init.scoring, init.attention, attention, prepared)

    slug = re.sub(r"[^a-z0-9]+", "_", init.name.lower()).strip("_")[:40]
    whose = {
        "baseline": f"encoder_{slug}_{init.tag}",
        "encoder": {"name": init.name, **init.identity()},
    }
    return Subject(out, whose, ("native",), open_reader, is_pretrained_here=False)


def score(
    subject: Subject, evaluation: Evaluation, report: Report, check: Callable[[], None]
) -> None:
    """Score every task with every probe and attention that has no score yet.

    Args:
        subject: The encoder.
        evaluation: The tasks, probes and settings.
        report: Receives an event before and after each score.
        check: Called before each score; raises an exception to stop.

    Raises:
        FailedError: Some tasks could not be scored; all others are.
    """
    from bench.probing.data.user_tasks import task_class
    from bench.probing.task import NotApplicableError
    from bench.records.score_file import ScoreFile
    from bench.registry import Registry

    registry, readers, failures = Registry(), dict[str, "Reader"](), _Failures()

    def score_one(reference: str, settings: Mapping[str, Any]) -> None:
        task: Task = task_class(reference, registry)()
        task.configure(settings)
        splits = task.load(evaluation.data)
        probes = task.probes_among(evaluation.probes)
        for task.probe, attention in itertools.product(probes, subject.attentions):
            check()
            whose = {"attention": attention, **subject.whose}
            if task.probe == "contrastive" and not subject.is_pretrained_here:
                whose |= _after_stage(whose, evaluation.data.prepared)
            file = ScoreFile(task, splits, evaluation.data.limit, whose)
            if file.path(subject.folder).is_file():
                continue
            report(events.Scoring(task.name, attention))
            started = time.perf_counter()
            if not readers:
                readers.update(
                    (one, subject.open_reader(one, evaluation.data.prepared))
                    for one in subject.attentions
                )
            answer: Score | NotApplicableError
            try:
                answer = task.score(readers[attention], splits, _noise(splits))
                if subject.is_pretrained_here or task.probe == "contrastive":
                    answer = _with_corpus_overlap(answer, splits, evaluation, registry)
            except NotApplicableError as reason:
                answer = reason
            file.write(subject.folder, answer, time.perf_counter() - started)
            value = None if isinstance(answer, NotApplicableError) else answer.value
            stderr = None if isinstance(answer, NotApplicableError) else answer.stderr
            metric = task.metric_of(splits)
            report(events.Scored(task.name, metric, task.probe, attention, value, stderr))

    for reference, settings in itertools.product(evaluation.tasks, evaluation.probe_settings):
        with failures.of(reference):
            score_one(reference, settings)
    failures.raise_all()


def _after_stage(whose: Mapping[str, Any], prepared: Path | None) -> dict[str, Any]:
    """The keys of a public encoder's score after a stage, which belongs to the stage's corpus."""
    assert prepared is not None
    manifest = read_manifest(prepared)
    stage = {key: manifest[key] for key in ("corpus_sha256", "tokenizer_sha256")}
    name = f"{whose['baseline'][:48]}_{sha256_json([whose['encoder'], stage])[:8]}"
    return {"baseline": name, "encoder": {**whose["encoder"], "stage": stage}}


def score_encoder(job: EncoderJob, report: Report, check: Callable[[], None]) -> None:
    """Score a public encoder."""
    evaluation = job.evaluation
    score(encoder_subject(job.init, job.device, evaluation.out), evaluation, report, check)
    report(events.Done(None, "finished"))


def score_baselines(job: BaselinesJob, report: Report, check: Callable[[], None]) -> None:
    """Score each task's baselines. Majority is written last: if its file exists, all others do."""
    from bench.probing.data.user_tasks import task_class
    from bench.records.score_file import ScoreFile
    from bench.registry import Registry

    registry, evaluation = Registry(), job.evaluation
    limit = evaluation.data.limit
    failures = _Failures()

    def score_one(reference: str) -> None:
        task: Task = task_class(reference, registry)()
        splits = task.load(evaluation.data)
        if ScoreFile(task, splits, limit, {"baseline": MAJORITY}).path(evaluation.out).is_file():
            return
        report(events.Scoring(task.name))
        started = time.perf_counter()
        scores = task.baselines(splits, _noise(splits))
        seconds = (time.perf_counter() - started) / max(len(scores), 1)
        for baseline in sorted(scores, key=lambda name: name == MAJORITY):
            file = ScoreFile(task, splits, limit, {"baseline": baseline})
            file.write(evaluation.out, scores[baseline], seconds)

    for reference in evaluation.tasks:
        check()
        with failures.of(reference):
            score_one(reference)
    report(events.Done(None, "finished"))
    failures.raise_all()


def _with_corpus_overlap(
    score: Score, splits: Splits, evaluation: Evaluation, registry: Registry
) -> Score:
    """The score with the share of test examples that overlap with the corpus."""
    from bench.probing.data.user_tasks import task_class
    from bench.probing.overlap import corpus_overlap, with_overlap

    def all_splits() -> Iterator[Splits]:
        for reference in evaluation.tasks:
            with contextlib.suppress(Exception):  # reported when the task is scored
                yield task_class(reference, registry)().load(evaluation.data)

    assert evaluation.data.prepared is not None
    return with_overlap(score, corpus_overlap(evaluation.data.prepared, splits, all_splits))


def _noise(splits: Splits) -> Noise:
    """The noise of probing: equal for every run, so that outcomes are paired."""
    import torch

    from bench.pretraining.noise import Noise

    return Noise(0, 0, torch.arange(len(splits.test)))
