"""The Python API: everything the command line does, for scripts and notebooks.

`bench.run`, `bench.compare`, `bench.load_run`, `bench.features`, `bench.fill` and `bench.variants`
are what researchers call. `bench.engines.execution` has the steps of a run.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, checked_keywords
from bench.experiment import UNTRAINED, resolve
from bench.experiment.objectives import variants as all_variants
from bench.experiment.tasks import expand_suites, task_suites
from bench.registry import Registry
from bench.spec import Budget

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from bench.corpus.sources import Corpus
    from bench.corpus.tokenizer import TextTokenizer
    from bench.engines.observers.watching import ObserverLike
    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.objective import Objective
    from bench.probing.reader.filling import FillResult
    from bench.probing.task import Task
    from bench.records.store import RunRecord
    from bench.reporting.comparison import Comparison
    from bench.reporting.table import Table

    ObjectiveLike = str | type[Objective] | Objective
    TaskLike = str | type[Task] | Task
    CorpusLike = str | PathLike[str] | Corpus | Sequence[str | PathLike[str]]

DEFAULT_OUT = Path("results")


@checked_keywords
def run(
    objectives: ObjectiveLike | Iterable[ObjectiveLike],
    *,
    corpus: CorpusLike = "micro",
    tasks: TaskLike | Iterable[TaskLike] | None = None,
    task: str | Sequence[str] = (),
    size: str = "tiny",
    budget: str | float | Budget | None = None,
    seeds: str | int | Iterable[int] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | Iterable[str] = (),
    data: str | PathLike[str] | None = None,
    tokenizer: str | PathLike[str] | None = None,
    text_column: str = "text",
    words: str = "auto",
    documents: str = "auto",
    device: str = "auto",
    limit: int | None = None,
    probe: str | Iterable[str] = "linear",
    curve: int = 1,
    tune: str | Iterable[str] = (),
    tune_on: str = "loss",
    ladder: str | Sequence[str] = (),
    init: str | PathLike[str] | None = None,
    encoder: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    forget: str | PathLike[str] | None = None,
    race: bool = False,
    detect: float | None = None,
    out: str | PathLike[str] = DEFAULT_OUT,
    baseline: str | None = None,
    allow_inexact: bool = False,
    observe: ObserverLike | Iterable[ObserverLike] = (),
    progress: bool = True,
) -> Comparison:
    """Pretrain with each objective, probe the encoders, and compare them, as `bench run` does.

    Finished runs are found in `out`, and unfinished runs are resumed. Each run is a process of its
    own; the calling script is not imported by it and needs no `__main__` guard.

    Args:
        objectives: Names, text with variants (`"span(rate=0.15|0.3)"`), classes, instances, or a
            list of these. The untrained baseline is added.
        corpus: `"micro"` (generated), the name of a registered corpus, `"hf:NAME"`, files or
            folders, or a `Corpus`.
        tasks: Names and suites, classes of tasks, or a list of these; `"none"`: pretrain only.
            Default: the tasks of the generated corpus, if that is the corpus.
        task: Your own labels, each `"KIND:FILE,text=COLUMN,label=COLUMN"`.
        size: `"tiny"`, `"mini"`, `"small"` or `"base"`.
        budget: Tokens per run (2_000_000 or `"2M"`), `"300kpred"`, `"1e15flop"` or `"60s"`.
        seeds: The number of seeds (3), a list ([0, 1]) or text (`"0-2"`).
        settings: Settings by owner: `{"encoder": {"num_layers": 6}, "span": {"rate": 0.3}}`.
        data: Folder of task data, `NAME/SPLIT.parquet`; default: the hub.
        tokenizer: A tokenizer.json, or `"char"`; default: byte-level BPE, trained on the corpus.
        text_column: The column of the text in csv, tsv, jsonl, json and parquet files.
        words: The words that objectives hide: `"auto"`, `"spaces"`, `"icu"`, `"characters"`, or a
            file with the corpus segmented by spaces.
        documents: One document of a text file: `"auto"`, `"blank-lines"`, `"lines"` or `"files"`.
        device: `"auto"`, `"cpu"` or `"cuda"`.
        limit: Number of examples of each split of a task at most.
        probe: `"linear"`, `"mlp"`, `"knn"`, `"finetune"`, `"contrastive"`, or several.
        curve: Number of budgets per objective, each half of the previous one.
        tune: Settings with values that every objective tries at a tenth of the budget, as
            `"training.learning_rate=1e-3,2e-3,4e-3"`; each is run with its own best.
        tune_on: `"loss"` (held-out, of the same objective) or `"self"` (the dev parts of the
            self-supervised tasks).
        ladder: Sizes, as `"tiny,mini"`: the same at each, and whether the order holds.
        init: The checkpoint that is continued: a folder, `"hf:NAME"` or a run.
        encoder: Public encoders that are scored too, without any training.
        forget: A second corpus, whose held-out loss is measured (with `init`).
        race: Start all objectives at two seeds, drop those significantly below the highest, and
            spend their seeds on the others.
        detect: A race ends where a difference of so many points would be seen.
        out: Folder of the records.
        baseline: The objective that differences are taken to; default: the untrained encoder.
        allow_inexact: Resume although the thread count or the version of torch changed.
        observe: Names or classes of observers (`bench list observers`), as `"tensorboard"`.
        progress: Show progress bars (in a notebook too); False: show nothing.

    Returns:
        The comparison of the runs that finished.

    Raises:
        BenchError: An argument names something that does not exist or does not fit.
        FailedError: No run finished.
        StoppedError: The runs were stopped; the same call resumes them.

    Examples:
        >>> import bench
        >>> comparison = bench.run("token", budget="20k", seeds=1, tasks="agreement", limit=100,
        ...                        out=folder, progress=False)
        >>> sorted(comparison.to_dataframe()["display_name"].unique())[-2:]
        ['token', 'untrained']
    """
    folder = _folder(out)
    experiment = resolve(
        objectives, Registry(), corpus=corpus, tasks=tasks, task=task, size=size, budget=budget,
        seeds=seeds, settings=settings, data=data, tokenizer=tokenizer, text_column=text_column,
        words=words, documents=documents,
        device=device, limit=limit, probe=probe, curve=curve, tune=tune, tune_on=tune_on,
        ladder=ladder, init=init, encoder=encoder, forget=forget, records=folder,
    )  # fmt: skip
    from bench.engines.running import run_experiment, unfinished_jobs

    result = run_experiment(experiment, folder, progress, allow_inexact, race, detect, observe)
    unfinished = unfinished_jobs(result)
    if unfinished:
        warnings.warn(unfinished, stacklevel=3)
    baseline = baseline or experiment_baseline(result.run_ids)
    return compare(result.run_ids, out=out, baseline=baseline, tasks=result.tasks)


@checked_keywords
def compare(
    runs: str | Sequence[str] = (),
    *,
    out: str | PathLike[str] = DEFAULT_OUT,
    baseline: str | None = None,
    tasks: str | Sequence[str] = (),
    intervals: str = "moderated",
    watch: Callable[[list[Table]], None] | None = None,
) -> Comparison:
    """Compare finished runs, as `bench compare` does.

    Args:
        runs: Ids, prefixes of ids, or folders; default: all runs of `out`.
        out: Folder of the records.
        baseline: The objective that differences are taken to.
        tasks: Tasks or suites: the columns, in order; default: every scored task.
        intervals: `"moderated"` (variances between seeds are estimated over all objectives and
            tasks) or `"own"` (each cell and each pair by itself).
        watch: Called with the tables before any statistic is computed.

    Raises:
        BenchError: No such run, no finished run, or no such task among the runs.
        RefusedError: A record is damaged.

    Examples:
        >>> import bench
        >>> comparison = bench.compare(out=folder)
        >>> comparison.to_dataframe().columns[:3].tolist()
        ['comparison', 'corpus', 'size']
    """
    from bench._startup import paused_collection, without
    from bench.corpus.preparation import default_cache
    from bench.records.cache import read_cached_baselines, read_cached_runs
    from bench.reporting.comparison import Comparison

    if intervals not in ("moderated", "own"):
        raise BenchError(f"intervals: {intervals!r} is none of 'moderated', 'own'")
    folder, cache, suites = _folder(out), default_cache(), task_suites(Registry())
    selection = [runs] if isinstance(runs, str) else [str(run) for run in runs]
    columns = expand_suites(tasks, suites)
    with without("torch"), paused_collection():
        result = Comparison.from_records(
            read_cached_runs(folder, selection, cache),
            read_cached_baselines(folder, cache),
            baseline=baseline,
            tasks=columns,
            suites=suites,
            watch=watch,
            intervals=intervals,  # type: ignore[arg-type]
            out=str(out),
        )
    if not result.tables:
        raise BenchError(
            f"no finished runs under {folder / 'runs'} (--out {folder}); bench run makes them"
        )
    if columns and not any(table.columns for table in result.tables):
        raise BenchError(
            f"--tasks {','.join(columns)}: no run has a score on any of them; bench run with the "
            "same --tasks adds scores to finished runs"
        )
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A finished run, loaded: `bench.load_run` returns it.

    Examples:
        >>> import bench
        >>> run = bench.load_run("token", out=folder)
        >>> run.record.data["objective"]
        'token'
        >>> sum(parameter.numel() for parameter in run.encoder.parameters()) > 0
        True
    """

    id: str
    encoder: SharedEncoder
    """The pretrained encoder, in evaluation mode."""
    tokenizer: TextTokenizer
    objective: Objective
    head: Any
    """What predicted tokens beside the encoder (a `torch.nn.Module`)."""
    record: RunRecord
    """The contents of run.json, and the scores."""

    def __repr__(self) -> str:
        data = self.record.data
        shape = self.encoder.shape
        return (
            f"<bench run {self.id}: {data['display_name']}, seed {data['seed']}, {data['size']}, "
            f"{shape.num_layers} layers x {shape.hidden_size}, {len(self.record.scores)} scores>"
        )


@checked_keywords
def load_run(
    run: str | PathLike[str], *, out: str | PathLike[str] = DEFAULT_OUT, device: str = "cpu"
) -> Run:
    """Load a finished run: encoder, tokenizer and record.

    Args:
        run: The id, a prefix of it that no other run has, or the run's folder.
        out: Folder of the records.
        device: Where the weights go, for example `"cuda"`.

    Raises:
        BenchError: No such run, or several.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> bench.load_run("token-tiny-s0", out=folder).id[:13]
        'token-tiny-s0'
    """
    from bench.experiment.experiment import choose_device
    from bench.records.run_folder import load_run as load
    from bench.reporting.run_summary import run_named
    from bench.settings import from_mapping

    record = run_named(_folder(out), str(run))
    name = record.data["objective"]
    objective = from_mapping(Registry().get("objective", name), record.data["settings"], name)
    encoder, head, tokenizer = load(record.folder, objective, choose_device(device))
    return Run(record.data["id"], encoder, tokenizer, objective, head, record)


@checked_keywords
def features(
    run: Run | str | PathLike[str],
    texts: str | Sequence[str],
    *,
    out: str | PathLike[str] = DEFAULT_OUT,
    device: str = "cpu",
) -> dict[tuple[int, str], Float[np.ndarray, "N D"]]:
    """The frozen features of texts, as probes read them.

    Args:
        run: From `load_run`, or what `load_run` takes.
        texts: One text or a list of N texts; each is cut to the encoder's length.
        out: Folder of the records, where `run` is not loaded yet.
        device: Where the encoder runs, where `run` is not loaded yet.

    Returns:
        For each layer (0: the embeddings) and pooling (`mean`, `first` or `last` over the tokens of
        a text) an array of shape [N, D], float32.

    Raises:
        BenchError: No such run, or something that is not text.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> features = bench.features("token", ["the old gate", "a red wall"], out=folder)
        >>> features[0, "mean"].shape
        (2, 64)
    """
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import POOLINGS

    loaded = run if isinstance(run, Run) else load_run(run, out=out, device=device)
    listed = [texts] if isinstance(texts, str) else list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise BenchError(f"texts: give text or a list of texts, got {text!r}")
    if not listed:
        raise BenchError("texts: the list is empty; give one text or more")
    reader = RunReader(loaded.encoder, None, loaded.tokenizer, None, loaded.objective.attention)
    pooled = reader.features(listed).pooled
    return {
        (layer, pooling): pooled[:, layer, place]
        for layer in range(pooled.shape[1])
        for place, pooling in enumerate(POOLINGS)
    }


@checked_keywords
def fill(
    run: Run | str | PathLike[str], text: str, *, k: int = 5, out: str | PathLike[str] = DEFAULT_OUT
) -> FillResult:
    """Predict the tokens at each [MASK] of a text; a causal run continues the text.

    Args:
        run: From `load_run`, or what `load_run` takes.
        text: Text with [MASK] where a token is missing.
        k: Number of predictions at each [MASK].
        out: Folder of the records, where `run` is not loaded yet.

    Raises:
        BenchError: No such run, no [MASK] in the text, or the objective predicts no tokens.
        RefusedError: A file of the run was changed after it was written.

    Examples:
        >>> import bench
        >>> filled = bench.fill("token", "the [MASK] was old .", k=3, out=folder)
        >>> len(filled.places[0])
        3
    """
    from bench.probing.reader.reader import RunReader
    from bench.probing.task import NotApplicableError

    loaded = run if isinstance(run, Run) else load_run(run, out=out)
    scoring, attention = loaded.record.data["scoring"], loaded.objective.attention
    reader = RunReader(loaded.encoder, loaded.head, loaded.tokenizer, scoring, attention)
    try:
        return reader.fill(text, k)
    except NotApplicableError as reason:
        raise BenchError(
            f"{loaded.id} cannot fill in tokens: {reason}; runs of masked and causal objectives "
            "can (bench list objectives)"
        ) from None


@checked_keywords
def variants(objective: str | type[Objective], **settings: Any) -> list[Objective]:
    """All combinations of some values of an objective's settings, to be compared in one run.

    Args:
        objective: A name or a class.
        settings: For each setting one value, or a list of values.

    Raises:
        BenchError: An unknown name or setting, or a value out of range.

    Examples:
        >>> import bench
        >>> [one.display_name for one in bench.variants("span", rate=[0.15, 0.3, 0.4])]
        ['span', 'span[rate=0.3]', 'span[rate=0.4]']
    """
    return all_variants(objective, Registry(), **settings)


def experiment_baseline(run_ids: Sequence[str]) -> str | None:
    """The untrained baseline, where it is among the runs."""
    return UNTRAINED if any(run.startswith(f"{UNTRAINED}-") for run in run_ids) else None


def _folder(out: Any) -> Path:
    if not isinstance(out, str | PathLike) or not str(out):
        raise BenchError(f"--out: give a folder, got {out!r}")
    return Path(out)
