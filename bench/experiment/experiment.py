"""From what a person asks for to run specifications. Nothing is trained, built or read here.

`resolve` is the one door to an experiment for the command line and for Python: it turns names into
classes and text into settings, and checks that everything is at hand.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.experiment.checkpoints import (
    NOT_CONTINUED,
    continued,
    name_of,
    read_checkpoint,
    read_encoders,
)
from bench.experiment.curve import check_steps, halvings
from bench.experiment.objectives import own_classes, read_objectives, refuse_lone_rows
from bench.experiment.options import Options, checked_shard, options_of
from bench.experiment.tasks import (
    DEFAULT_CORPUS,
    from_suites,
    read_probe_settings,
    read_probes,
    read_tasks,
    require_data,
)
from bench.experiment.tuning import Choice, Tuning, read_tuning
from bench.machine import cores, visible_gpus
from bench.settings import as_mapping, code_sha256, texts
from bench.sizes import Size, shape_and_training, size_named
from bench.spec import (
    Budget,
    EncoderShape,
    Init,
    RunSpec,
    Training,
    parse_overrides,
    parse_seeds,
)

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.sources import Corpus
    from bench.pretraining.objective import Objective
    from bench.probing.task import DataRoot, Probe, Task
    from bench.registry import Registry

DEVICES = ("auto", "cpu", "cuda", "mps")
_MIN_WORDS = 250_000
_TOKENS_PER_SECOND = 50_000
"""A rule of thumb for a budget in seconds; it only decides how large a generated corpus is."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Objectives x seeds x budgets on one corpus, and the tasks that score them; all checked."""

    objectives: dict[str, Objective]
    """By display name."""
    corpus: Corpus
    tasks: dict[str, type[Task]]
    size: Size
    shape: EncoderShape
    training: Training
    budgets: list[Budget]
    """The longest first; more than one make a curve."""
    seeds: list[int]
    data: DataRoot
    tokenizer: str | None
    device: str
    probes: tuple[Probe, ...]
    probe_settings: tuple[dict[str, dict[str, Any]], ...] = ({},)
    """Settings of `probe`, `finetune` and `contrastive` by owner; each task is scored with each."""
    options: Options = ()
    """The options that give the experiment again, without objectives and seeds."""
    optional: frozenset[str] = frozenset()
    """The tasks that only a suite names: one that cannot be evaluated is left out."""
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Tasks of suites that are left out, with the reason."""
    tuning: Tuning | None = None
    """The settings to tune for each objective before the runs."""
    choices: Mapping[str, Choice] = dataclasses.field(default_factory=dict)
    """Display name -> what tuning chose."""
    rungs: tuple[Experiment, ...] = ()
    """The same at the further sizes of a ladder."""
    init: Init | None = None
    """The checkpoint that every run continues."""
    encoders: tuple[Init, ...] = ()
    """Public encoders that are scored beside the runs, without any training."""
    forget: Corpus | None = None
    """A second corpus, whose held-out loss is measured before and after."""
    words: str = "auto"
    """The word model of the corpus, or a segmented file."""
    processes: int = 1
    """Processes that share one run, each with a GPU of its own."""
    is_sharded: bool = False
    """Whether the encoder's layers are divided among them."""

    @property
    def budget(self) -> Budget:
        """The budget of a run; of a curve, the longest."""
        return self.budgets[0]

    @property
    def workers(self) -> int:
        """Number of runs at once on this machine: one where neighbours would share its seconds."""
        if self.budget.axis == "seconds" or self.device == "mps":
            return 1
        if self.device == "cuda":
            return max(1, len(visible_gpus()) // self.processes)
        return max(1, cores() // (self.training.threads * self.processes))

    @property
    def capped_threads(self) -> str | None:
        """Why runs have fewer threads than their size usually has, if they do."""
        usual, own = self.size.training.threads, self.training.threads
        if own >= usual or own != cores():
            return None
        return (
            f"runs use {own} thread{'s' * (own > 1)}, not the {usual} of size {self.size.name}, "
            "because this process may use no more cores; --set training.threads=N sets another "
            "number"
        )

    @property
    def cautions(self) -> list[str]:
        """Sentences for the reader of the results about this machine and budget."""
        sentences = [] if self.capped_threads is None else [self.capped_threads]
        if self.budget.axis == "seconds" and self.device != "cpu":
            sentences.append(
                f"a budget in seconds on {self.device} compares implementations as much as "
                "objectives: one with a decoder or few kernels reads fewer tokens for reasons that "
                "are none of its own; use tokens, predictions or FLOPs"
            )
        return sentences

    def specs(self, prepared: PreparedCorpus) -> list[RunSpec]:
        """One specification for each budget, seed and objective.

        An objective that does not train gives one encoder under any budget, so it appears once.
        """
        vocab_size = prepared.tokenizer.vocabulary.size
        first = self.seeds[:1]  # a checkpoint that is not trained is the same for every seed
        epoch = prepared.train.num_rows(self.shape.max_length) * self.shape.max_length
        shape = dataclasses.replace(self.shape, vocab_size=vocab_size)
        return [
            RunSpec(
                objective=objective.name,
                settings=as_mapping(objective),
                objective_code=code_sha256(own_classes(objective)),
                seed=seed,
                size=self.size.name,
                encoder=shape,
                training=self._training(objective),
                budget=budget.in_tokens(epoch),
                corpus_sha256=prepared.corpus_sha256,
                tokenizer_sha256=prepared.tokenizer_sha256,
                device=self.device,
                torch_version=version("torch").split("+")[0],
                display_name=self._display_name(objective),
                tuned=self.tuning.labels if self.tuning and self.choices else (),
                init=self.init,
            )
            for budget in self.budgets
            for seed in self.seeds
            for objective in self.objectives.values()
            if objective.trains or (budget == self.budget and (self.init is None or seed in first))
        ]

    def _display_name(self, objective: Objective) -> str:
        if self.init is None or objective.trains:
            return objective.display_name
        return NOT_CONTINUED

    def _training(self, objective: Objective) -> Training:
        choice = self.choices.get(objective.display_name)
        return self.training if choice is None else choice.training

    def tuned(self, choices: Iterable[Choice]) -> Experiment:
        """The experiment with what tuning chose."""
        by_name = {choice.objective.display_name: choice for choice in choices}
        untrained = {name: one for name, one in self.objectives.items() if not one.trains}
        objectives = {name: choice.objective for name, choice in by_name.items()} | untrained
        return dataclasses.replace(self, objectives=objectives, choices=by_name)


def resolve(
    objectives: Any,
    registry: Registry,
    *,
    corpus: Any = DEFAULT_CORPUS,
    tasks: Any = None,
    task: str | Sequence[str] = (),
    size: str = "tiny",
    budget: str | float | Budget | None = None,
    seeds: str | int | Iterable[int] | None = None,
    settings: Iterable[str] | Mapping[str, Mapping[str, Any]] = (),
    data: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
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
    init: str | os.PathLike[str] | None = None,
    encoder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    forget: str | os.PathLike[str] | None = None,
    gpus_per_run: int = 1,
    shard: bool = False,
    records: str | os.PathLike[str] = "results",
) -> Experiment:
    """Turn names into classes and text into settings, and check that everything is at hand.

    The arguments are those of `bench.run`; `records` is its `out`, where runs to continue lie.

    Raises:
        BenchError: An argument names something that does not exist or does not fit; names the
            argument and the way out.
    """
    from bench.probing.task import DataRoot

    given = {name: value for name, value in locals().items() if name != "DataRoot"}
    many = {"task": task, "tune": tune, "encoder": encoder, "probe": probe}
    task, tune, encoder, probe = (texts(name, value) for name, value in many.items())
    settings = settings if isinstance(settings, Mapping) else texts("settings", settings)
    sizes = ladder.split(",") if isinstance(ladder, str) else texts("ladder", ladder)
    sizes = [one.strip() for one in sizes if one.strip()]
    checkpoint = None if init is None else read_checkpoint(init, "--init", Path(records))
    init = name_of(init, checkpoint)
    if forget is not None and checkpoint is None:
        raise BenchError("--forget measures what a checkpoint forgets; give --init with it")
    if sizes and checkpoint is None:
        first, *others = (resolve(**given | {"size": one, "ladder": ()}) for one in sizes)
        if len(set(sizes)) < 2 or len(set(sizes)) < len(sizes):
            raise BenchError(f"--ladder {','.join(sizes)}: name two different sizes or more")
        return dataclasses.replace(first, rungs=tuple(others))
    options = options_of(
        {
            "corpus": corpus, "tasks": tasks, "task": task, "size": size, "budget": budget,
            "settings": settings, "data": data, "tokenizer": tokenizer, "text_column": text_column,
            "words": words, "documents": documents,
            "device": device, "limit": limit, "probe": probe, "curve": curve, "tune": tune,
            "tune_on": tune_on, "init": init, "encoder": encoder, "forget": forget,
        }
    )  # fmt: skip
    overrides = parse_overrides(settings)
    if checkpoint is None:
        chosen_size = size_named(size)
        shape, training = shape_and_training(chosen_size, overrides, None)
    else:
        chosen_size, shape, training = continued(checkpoint, overrides, size, tokenizer, sizes)
        tokenizer = checkpoint.tokenizer
    budgets = halvings(
        Budget.parse(chosen_size.budget if budget is None else budget), _whole("curve", curve)
    )
    instances = read_objectives(objectives, overrides, registry)
    task_classes = read_tasks(tasks, task, corpus, registry)
    folder = None if data is None else _path("data", data)
    if folder is not None and not folder.is_dir():
        raise BenchError(f"--data {folder}: no such folder (looked up from {Path.cwd()})")
    data_root = DataRoot(
        folder, None if limit is None else _whole("limit", limit), chosen_size.name
    )
    optional = from_suites(DEFAULT_CORPUS if tasks is None else tasks, registry)
    without = require_data(task_classes, data_root, optional)
    task_classes = {name: one for name, one in task_classes.items() if name not in without}
    tokenizer_name = None if tokenizer is None else str(_path("tokenizer", tokenizer))
    if tokenizer_name not in (None, "char") and not Path(str(tokenizer_name)).is_file():
        raise BenchError(f"--tokenizer {tokenizer}: no such file; give a tokenizer.json or char")
    # One corpus for all budgets of a curve: only the budget differs.
    num_words = _num_words(budgets[0], shape)
    source = _open(corpus, registry, text_column, chosen_size.name, num_words, documents)
    if checkpoint is None:
        shape, training = shape_and_training(chosen_size, overrides, source.vocab_size)
    refuse_lone_rows(instances.values(), shape, training)
    check_steps(curve, _about_tokens(budgets[0], shape), training.batch_tokens)
    return Experiment(
        objectives=instances,
        corpus=source,
        tasks=task_classes,
        size=chosen_size,
        shape=shape,
        training=training,
        budgets=budgets,
        seeds=parse_seeds(chosen_size.seeds if seeds is None else seeds),
        data=data_root,
        tokenizer=tokenizer_name,
        words=words,
        processes=_whole("gpus_per_run", gpus_per_run),
        is_sharded=checked_shard(shard, gpus_per_run),
        device=choose_device(device),
        probes=read_probes(probe),
        probe_settings=read_probe_settings(overrides, task_classes),
        options=options,
        optional=optional,
        left_out=without,
        tuning=read_tuning(tune, tune_on, instances, training),
        init=None if checkpoint is None else checkpoint.init,
        encoders=tuple(one.init for one in read_encoders(encoder, Path(records))),
        forget=None
        if forget is None
        else _open([str(forget)], registry, text_column, size, num_words, documents),
    )


def choose_device(device: str) -> str:
    """`auto` is the GPU where there is one; `mps`, of a Mac, only if it is asked for.

    Raises:
        BenchError: No such device, or none of it on this machine.
    """
    if device not in DEVICES:
        raise BenchError(f"--device {device!r} is none of {', '.join(DEVICES)}")
    if device == "cpu" or (device == "auto" and version("torch").endswith("+cpu")):
        return "cpu"  # known without importing torch
    import torch

    if device != "mps" and torch.cuda.is_available():
        return "cuda"
    if device == "mps" and torch.backends.mps.is_available():
        return "mps"
    if device == "auto":
        return "cpu"
    raise BenchError(
        f"--device {device}: torch finds no {device.upper()} device; --device cpu runs without one"
    )


def _open(
    corpus: Any,
    registry: Registry,
    text_column: str,
    size: str,
    num_words: int,
    documents: str = "auto",
) -> Corpus:
    """The corpus of a name, of files and folders, or the given one."""
    from bench.corpus.opening import open_corpus
    from bench.corpus.sources import Corpus

    if isinstance(corpus, Corpus):
        return corpus
    parts = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
    if not isinstance(parts, Iterable):
        raise BenchError(f"corpus: give a name, files or folders, got {corpus!r}")
    # Not through `Path`: `./micro` is a folder and `micro` a registered name.
    names = [part if isinstance(part, str) else str(_path("corpus", part)) for part in parts]
    return open_corpus(names, registry.of("corpus"), text_column, size, num_words, documents)


def _path(argument: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise BenchError(f"{argument}: give a path or a name as text, got {value!r}")
    return Path(value)


def _whole(argument: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BenchError(f"{argument}: give a whole number above 0, got {value!r}")
    return value


def _num_words(budget: Budget, shape: EncoderShape) -> int:
    """Words that a generated corpus should have so that the budget does not repeat it.

    Rounded up to a power of two, so that similar budgets share one corpus.
    """
    tokens = _about_tokens(budget, shape)
    words = _MIN_WORDS
    while words < tokens < math.inf and words < 1 << 30:
        words *= 2
    return words


def _about_tokens(budget: Budget, shape: EncoderShape) -> float:
    """Approximate number of tokens that a budget reads, by rules of thumb on the other axes."""
    from bench.pretraining.ledger import TRAINING_FACTOR, encoder_row_flops

    row = TRAINING_FACTOR * encoder_row_flops(shape, shape.max_length)
    return {
        "tokens": budget.amount,
        "predictions": budget.amount / 0.15,
        "flops": budget.amount / row * shape.max_length,
        "seconds": budget.amount * _TOKENS_PER_SECOND,
        "epochs": math.inf,
    }[budget.axis]
