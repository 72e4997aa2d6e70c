"""The Python API: the main commands, for scripts and notebooks.

`bench.run`, `bench.compare`, `bench.load_run`, `bench.features`, `bench.fill` and `bench.variants`
are what researchers call. `bench.engines.execution` has the steps of a run, and `bench.loaded_run`
what is done with a finished one.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, RefusedError, checked_keywords, unknown_name
from bench.experiment import UNTRAINED, resolve
from bench.experiment.objectives import variants as all_variants
from bench.experiment.tasks import expand_suites, task_suites
from bench.loaded_run import DEFAULT_OUT, Run, features, fill, load_run, records_folder
from bench.registry import Registry
from bench.settings import texts
from bench.spec import Budget

__all__ = ["Run", "compare", "features", "fill", "load_run", "run", "variants"]

if TYPE_CHECKING:
    from bench.corpus.sources import Corpus
    from bench.engines.observers.watching import ObserverLike
    from bench.pretraining.objective import Objective
    from bench.probing.task import Task
    from bench.reporting.comparison import Comparison
    from bench.reporting.table import Table

    ObjectiveLike = str | type[Objective] | Objective
    TaskLike = str | type[Task] | Task
    CorpusLike = str | PathLike[str] | Corpus | Sequence[str | PathLike[str]]


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
    engine: str = "local",
    gpus_per_run: int = 1,
    shard: bool = False,
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
        budget: Tokens per run (2_000_000 or `"2M"`), `"300kpred"`, `"1e15flop"`, `"60s"` or
            `"10epochs"`.
        seeds: The number of seeds (3), a list ([0, 1]) or text (`"0-2"`).
        settings: Settings by owner: `{"encoder": {"num_layers": 6}, "span": {"rate": 0.3}}`.
        data: Folder of task data, `NAME/SPLIT.parquet`; default: the hub.
        tokenizer: A tokenizer.json, or `"char"`; default: byte-level BPE, trained on the corpus.
        text_column: The column of the text in csv, tsv, jsonl, json and parquet files.
        words: The words that objectives hide: `"auto"`, `"spaces"`, `"icu"`, `"characters"`, or a
            file with the corpus segmented by spaces.
        documents: One document of a text file: `"auto"`, `"blank-lines"`, `"lines"` or `"files"`.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
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
        engine: `"local"`, `"ray"` or `"slurm"`, with options after a colon.
        gpus_per_run: GPUs that share one run.
        shard: Divide the weights of the encoder's layers among them.
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
    folder = records_folder(out)
    experiment = resolve(
        objectives, Registry(), corpus=corpus, tasks=tasks, task=task, size=size, budget=budget,
        seeds=seeds, settings=settings, data=data, tokenizer=tokenizer, text_column=text_column,
        words=words, documents=documents,
        device=device, limit=limit, probe=probe, curve=curve, tune=tune, tune_on=tune_on,
        ladder=ladder, init=init, encoder=encoder, forget=forget,
        gpus_per_run=gpus_per_run, shard=shard, records=folder,
    )  # fmt: skip
    from bench.engines import read_engine
    from bench.engines.running import run_experiment, unfinished_jobs

    if not read_engine(engine).waits:
        raise BenchError(
            f"engine={engine!r} waits for no run, so there is nothing to compare; use the command "
            "bench run --engine print, or 'local', 'ray' or 'slurm' here"
        )
    result = run_experiment(
        experiment, folder, progress, allow_inexact, race, detect, observe, engine
    )
    unfinished = unfinished_jobs(result)
    if unfinished:
        warnings.warn(unfinished, stacklevel=3)
    baseline = baseline or experiment_baseline(result.run_ids)
    return compare(result.run_ids, out=out, baseline=baseline, tasks=result.tasks)


@checked_keywords
def compare(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
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
        RefusedError: A run that `runs` names is damaged, or all are. Others are left out, and
            `Comparison.damaged` names them.

    Examples:
        >>> import bench
        >>> comparison = bench.compare(out=folder)
        >>> comparison.to_dataframe().columns[:3].tolist()
        ['comparison', 'corpus', 'size']
    """
    from bench._startup import paused_collection, without
    from bench.corpus.preparation import default_cache
    from bench.records.cache import read_cached_baselines, read_cached_runs
    from bench.reporting.commands import compare_command
    from bench.reporting.comparison import Comparison

    if intervals not in ("moderated", "own"):
        raise BenchError(f"intervals: {intervals!r} is none of 'moderated', 'own'")
    folder, cache, suites = records_folder(out), default_cache(), task_suites(Registry())
    selection = texts("runs", runs)
    columns = expand_suites(tasks if isinstance(tasks, str) else texts("tasks", tasks), suites)
    with without("torch"), paused_collection():
        damaged: list[str] = []
        records = read_cached_runs(folder, selection, cache, damaged)
        # A selection may be of other folders of records, whose baselines belong to it.
        roots = {} if selection else {folder.resolve(): folder}
        for root in (run.folder.parents[1] for run in records):
            roots.setdefault(root.resolve(), folder if root.resolve() == folder.resolve() else root)
        result = Comparison.from_records(
            records,
            [one for at in roots.values() for one in read_cached_baselines(at, cache, damaged)],
            baseline=baseline,
            tasks=columns,
            suites=suites,
            watch=watch,
            intervals=intervals,  # type: ignore[arg-type]
            out=str(out) if len(roots) != 1 else str(*roots.values()),
        )
    result = dataclasses.replace(result, damaged=tuple(damaged))
    if not result.tables:
        if damaged:
            raise RefusedError(f"no whole run is left: {'; '.join(damaged)}")
        raise BenchError(
            f"no finished runs under {folder / 'runs'} (--out {folder}); bench run makes them"
        )
    scored = {column.task for table in result.tables for column in table.columns}
    if columns and not scored:
        raise BenchError(
            f"--tasks {','.join(columns)}: no run has a score on any of them; bench run with the "
            "same --tasks adds scores to finished runs"
        )
    for name in columns:
        if name not in scored.union(*suites.values()):
            raise unknown_name("scored task", name, scored, compare_command(str(out)))
    return result


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
