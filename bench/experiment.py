"""One command's worth of work: what was asked for, resolved against what there is.

Between the command line and the rooms: it turns names into classes, text into settings, and the
whole into run specifications; it never trains anything itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.registry import Registry
from bench.settings import as_mapping, code_sha256, from_mapping
from bench.spec import (
    SIZES,
    Budget,
    EncoderShape,
    RunSpec,
    Size,
    Training,
    check_steps,
    cores,
    halvings,
    parse_overrides,
    parse_seeds,
    shape_and_training,
    size_named,
)

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.sources import Corpus
    from bench.pretraining.objective import Objective
    from bench.probing.task import DataRoot, Task

UNTRAINED = "untrained"
"""The control that stands in every table."""
DEFAULT_CORPUS = "micro"
WORDS_AT_LEAST = 250_000


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for, as written."""

    objectives: Sequence[str]
    corpus: Sequence[str] = (DEFAULT_CORPUS,)
    tasks: str | None = None
    task: Sequence[str] = ()
    """Tasks of one's own, each KIND:FILE (see `bench.probing.data.user_tasks`)."""
    size: str = "tiny"
    budget: str | None = None
    seeds: str | None = None
    overrides: Sequence[str] = ()
    data: Path | None = None
    tokenizer: str | None = None
    text_column: str = "text"
    device: str = "auto"
    limit: int | None = None
    probe: str = "linear"
    """Ways of reading by comma, of `bench.probing.task.PROBES`."""
    curve: int = 1
    """Budgets of each objective: the one given, its half, its quarter, ... (`bench.spec`)."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What was asked for, resolved and checked; nothing has been built or read yet."""

    objectives: dict[str, Objective]
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
    probes: list[str]

    @property
    def budget(self) -> Budget:
        """Of a run; of a curve, the longest."""
        return self.budgets[0]

    @property
    def workers(self) -> int:
        """Runs side by side: alone where neighbours would spend a run's seconds or its GPU."""
        is_alone = self.budget.axis == "seconds" or self.device == "cuda"
        return 1 if is_alone else max(1, cores() // self.training.threads)

    def specs(self, prepared: PreparedCorpus) -> list[RunSpec]:
        """One specification for each budget, objective and seed.

        What does not train is the same under any budget, so a curve has it once.
        """
        vocab_size = prepared.tokenizer.vocabulary.size
        shape = dataclasses.replace(self.shape, vocab_size=vocab_size)
        return [
            RunSpec(
                objective=objective.name,
                settings=as_mapping(objective),
                objective_code=code_sha256(own_classes(objective)),
                seed=seed,
                size=self.size.name,
                encoder=shape,
                training=self.training,
                budget=budget,
                corpus_sha256=prepared.corpus_sha256,
                tokenizer_sha256=prepared.tokenizer_sha256,
                device=self.device,
                torch_version=version("torch").split("+")[0],
                display_name=objective.display_name,
            )
            for budget in self.budgets
            for seed in self.seeds
            for objective in self.objectives.values()
            if objective.trains or budget == self.budget
        ]


def resolve(request: Request, registry: Registry) -> Experiment:
    """Turn names into classes and text into settings, and check that everything is at hand.

    Raises:
        BenchError: Something asked for does not exist or does not fit; says what and the way out.
    """
    from bench.corpus.sources import open_corpus
    from bench.probing.task import DataRoot

    size = size_named(request.size)
    budgets = halvings(Budget.parse(request.budget or size.budget), request.curve)
    objectives = build_objectives(request, registry)
    tasks = choose_tasks(request, registry)
    data = DataRoot(request.data, request.limit, size.name)
    if request.data is not None and not request.data.is_dir():
        raise BenchError(f"--data {request.data}: no such folder (seen from {Path.cwd()})")
    require_data(tasks, data)
    if request.tokenizer not in (None, "char") and not Path(str(request.tokenizer)).is_file():
        raise BenchError(
            f"--tokenizer {request.tokenizer}: no such file; give a tokenizer.json or char"
        )
    overrides = parse_overrides(request.overrides)
    shape, training = shape_and_training(size, overrides, None)
    corpus = open_corpus(
        request.corpus,
        registry.of("corpus"),
        request.text_column,
        size.name,
        num_words(budgets[0], shape),  # one corpus for all: only the budget differs
    )
    shape, training = shape_and_training(size, overrides, corpus.vocab_size)
    check_steps(request.curve, about_tokens(budgets[0], shape), training.batch_tokens)
    return Experiment(
        objectives=objectives,
        corpus=corpus,
        tasks=tasks,
        size=size,
        shape=shape,
        training=training,
        budgets=budgets,
        seeds=parse_seeds(request.seeds or size.seeds),
        data=data,
        tokenizer=request.tokenizer,
        device=choose_device(request.device),
        probes=parse_probes(request.probe),
    )


def own_classes(objective: Objective) -> list[type]:
    """Its class and what that inherits from, without the machine's own contract (`RECIPE`)."""
    own = [
        ancestor
        for ancestor in type(objective).__mro__
        if not ancestor.__module__.startswith(("bench.pretraining.", "builtins", "abc"))
    ]
    return own + [cls for part in objective.ingredients() for cls in own_classes(part)]


def build_objectives(request: Request, registry: Registry) -> dict[str, Objective]:
    """The objectives asked for with their settings, and the untrained control."""
    asked = [name.replace("-", "_") for item in request.objectives for name in item.split(",")]
    if not any(asked):
        raise BenchError("name an objective: --objective span (bench list objectives shows all)")
    if "all" in asked:
        asked = [*registry.of("objective")]
    names = list(dict.fromkeys([*asked, UNTRAINED]))
    overrides = parse_overrides(request.overrides)
    owners = ["encoder", "training", *names]
    for owner in overrides:
        if owner not in owners:
            raise BenchError(
                f"--set {owner}.…: nothing in this command is named {owner!r}; its settings belong "
                f"to {', '.join(owners)}"
            )
    return {
        name: from_mapping(registry.get("objective", name), overrides.get(name, {}), name)
        for name in names
    }


def choose_tasks(request: Request, registry: Registry) -> dict[str, type[Task]]:
    """Tasks from names and suites, each once, in the order asked; then those of one's own."""
    from bench.probing.data.user_tasks import user_task

    known = registry.of("task")
    suites: dict[str, list[str]] = {"all": list(known), "none": []}
    for name, task in known.items():
        for suite in getattr(task, "suites", ()):
            suites.setdefault(suite, []).append(name)
    asked = request.tasks
    if asked is None and request.task:
        asked = "none"
    if asked is None:
        if list(request.corpus) != [DEFAULT_CORPUS]:
            raise BenchError(
                "--tasks says what to ask the encoders: names by comma, a suite, or none "
                f"(bench list tasks shows all; suites: {', '.join(sorted(suites))})"
            )
        asked = DEFAULT_CORPUS
    chosen: list[str] = []
    for item in filter(None, (part.strip() for part in asked.split(","))):
        name = item.replace("-", "_")
        chosen.extend(suites[name] if name in suites else [registry.get("task", name).name])
    found = {name: registry.get("task", name) for name in chosen}
    for written in request.task:
        own = user_task(written)
        if own.name in known or own.name in found:
            raise BenchError(
                f"--task {written} would be called {own.name!r} as another task is; give it a name "
                f"of its own: ,name=my_{own.name}"
            )
        found[own.name] = own
    return found


def require_data(tasks: Mapping[str, type[Task]], data: DataRoot) -> None:
    """Say what all the tasks lack before anything starts: at once, with what can be asked.

    Nothing is left out in silence: a suite of which half is missing is another suite.

    Raises:
        BenchError: A task's data set is missing; says where it was looked for.
    """
    lacking: dict[str, BenchError] = {}
    for name, task in tasks.items():
        try:
            task().require(data)
        except BenchError as error:
            lacking[name] = error
    raise_for(lacking, tasks, "have no data")


def raise_for(lacking: Mapping[str, BenchError], tasks: Iterable[str], what: str) -> None:
    """Raise what keeps some of the tasks from being asked, if anything does.

    Raises:
        BenchError: The one task's reason, or all reasons, with the tasks that are left.
    """
    asked = list(tasks)
    if len(lacking) == 1 and len(asked) == 1:
        raise next(iter(lacking.values()))
    if lacking:
        left = ",".join(name for name in asked if name not in lacking)
        reasons = "".join(f"\n  {name}: {error}" for name, error in lacking.items())
        way_out = f"\nthe others can be asked: --tasks {left}" if left else ""
        raise BenchError(f"{len(lacking)} of {len(asked)} tasks {what}{reasons}{way_out}")


def num_words(budget: Budget, shape: EncoderShape) -> int:
    """Words a generated corpus should have so that the budget does not repeat it.

    Rounded up to a power of two, so that near budgets share one corpus.
    """
    tokens = about_tokens(budget, shape)
    words = WORDS_AT_LEAST
    while words < tokens and words < 1 << 30:
        words *= 2
    return words


def about_tokens(budget: Budget, shape: EncoderShape) -> float:
    """What a budget reads, by rules of thumb where it is not given in tokens."""
    from bench.pretraining.ledger import TRAINING_FACTOR, encoder_row_flops

    row = TRAINING_FACTOR * encoder_row_flops(shape, shape.max_length)
    return {
        "tokens": budget.amount,
        "predictions": budget.amount / 0.15,
        "flops": budget.amount / row * shape.max_length,
        "seconds": budget.amount * 50_000,
    }[budget.axis]


def parse_probes(text: str) -> list[str]:
    """Ways of reading, each once, in the order asked.

    Raises:
        BenchError: No such way.
    """
    from bench.probing.task import PROBES

    asked = [part.strip() for part in text.split(",") if part.strip()]
    for mode in asked or [text]:
        if mode not in PROBES:
            raise BenchError(f"--probe {mode!r} is none of {', '.join(PROBES)}")
    return list(dict.fromkeys(asked))


def choose_device(asked: str) -> str:
    """`auto` is the GPU where there is one.

    Raises:
        BenchError: No such device, or none of it here.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise BenchError(f"--device {asked!r} is none of auto, cpu, cuda")
    if asked == "cpu" or (asked == "auto" and version("torch").endswith("+cpu")):
        return "cpu"  # said without importing torch
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise BenchError("--device cuda: torch sees no CUDA device; --device cpu runs without one")
    return "cpu"


def sizes() -> dict[str, Any]:
    """The size dial as plain values."""
    return {
        size.name: {
            "summary": size.summary,
            "encoder": as_mapping(size.encoder),
            "training": as_mapping(size.training),
            "budget": size.budget,
            "seeds": size.seeds,
        }
        for size in SIZES.values()
    }
