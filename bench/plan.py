"""`bench plan`: the cost of a `run` before it starts.

Counts come from formulas, and the time comes from runs that this machine has already made.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus import GENERATED
from bench.errors import BenchError
from bench.experiment.curve import share_of_longest
from bench.experiment.options import check_difference
from bench.experiment.tuning import TRIAL_SHARE
from bench.pretraining.ledger import TRAINING_FACTOR, encoder_parameters, encoder_row_flops
from bench.reporting.formatting import duration
from bench.settings import as_mapping
from bench.storage import MANIFEST

if TYPE_CHECKING:
    from bench.experiment import Experiment
    from bench.reporting.conclusions.detection import Detection

_FLOPS_PER_SECOND = 2e10
"""Of one core, where no earlier run is known: correct within a factor of three."""


@dataclasses.dataclass(frozen=True)
class CurvePlan:
    """The budgets of a curve and their cost."""

    budgets: list[str]
    """The longest first."""
    cost_of_longest: float
    """The cost of all runs of an objective, as a multiple of its longest run."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The work of a `run` with the same options. None stands for a figure that is unknown."""

    runs: list[str]
    """Display names of the objectives."""
    seeds: list[int]
    tasks: list[str]
    size: str
    device: str
    threads: int
    workers: int
    """Number of runs at once."""
    budget: str
    curve: CurvePlan | None
    continued: str | None
    """The checkpoint that is continued, with the learning rate and its source."""
    encoder_parameters: int
    extra_parameters: dict[str, int]
    """By objective: parameters that are discarded after pretraining."""
    tokens_per_run: float | None
    encoder_flops_per_run: float | None
    tokens_per_second: float | None
    speed_source: str
    """Where `tokens_per_second` comes from."""
    pretraining_seconds: float | None
    """Of all runs, with the trials of tuning; at most, for a race."""
    trials: int
    """Trials of tuning, each at a tenth of the budget."""
    rungs: list[Plan]
    """The plans of the further sizes of a ladder."""
    disk_megabytes: float
    corpus: str
    corpus_is_prepared: bool
    warnings: list[str]
    """The warnings of `run`, and the parts that it would leave out."""
    detection: Detection | None
    """The seeds that show the difference of `--detect`."""
    finished_runs: int | None
    """None before the corpus is prepared, because ids of runs are unknown until then."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def make_plan(experiment: Experiment, out: Path, detect: float | None = None) -> Plan:
    """Compute runs, parameters, tokens, FLOPs, time and disk, and count the finished runs.

    Args:
        experiment: From `bench.experiment.resolve`.
        out: Folder of the records.
        detect: A difference in points; how many seeds show it is computed from the records under
            `out`, or from the reference results.
    """
    from bench.corpus.preparation import default_cache, find_prepared, open_prepared

    shape, training, budget = experiment.shape, experiment.training, experiment.budget
    forward, parameters = _encoder_costs(experiment)
    row = TRAINING_FACTOR * forward
    prepared = find_prepared(
        experiment.corpus,
        experiment.tokenizer,
        shape.vocab_size,
        default_cache(),
        experiment.words,
    )
    if prepared is not None:
        budget = budget.in_tokens(
            open_prepared(prepared).train.num_rows(shape.max_length) * shape.max_length
        )
    speed, speed_source = _tokens_per_second(experiment, out, row / shape.max_length)
    tokens = {
        "tokens": budget.amount,
        "predictions": None,
        "epochs": None,
        "flops": budget.amount / row * shape.max_length,
        "seconds": None if speed is None else budget.amount * speed,
    }[budget.axis]
    trained = [one for one in experiment.objectives.values() if one.trains]
    seconds = None if tokens is None or speed is None else tokens / speed
    if budget.axis == "seconds":
        seconds = budget.amount
    tuning = experiment.tuning
    trials = 0 if tuning is None else sum(len(tuning.combinations(one)) for one in trained)
    waves = -(-len(trained) * len(experiment.seeds) // experiment.workers)
    extra = {one.display_name: one.extra_cost(shape).parameters for one in trained}
    points = len(experiment.budgets)
    num_encoders = len(experiment.objectives) + (points - 1) * len(trained)
    num_runs = num_encoders * len(experiment.seeds)
    share = share_of_longest(points)
    curve = CurvePlan([str(one) for one in experiment.budgets], share) if points > 1 else None
    return Plan(
        runs=list(experiment.objectives),
        seeds=experiment.seeds,
        tasks=list(experiment.tasks),
        size=experiment.size.name,
        device=experiment.device,
        threads=training.threads,
        workers=experiment.workers,
        budget=str(experiment.budget),
        curve=curve,
        continued=_continued(experiment),
        encoder_parameters=parameters,
        extra_parameters=extra,
        tokens_per_run=tokens,
        encoder_flops_per_run=None if tokens is None else tokens * row / shape.max_length,
        tokens_per_second=speed,
        speed_source=speed_source,
        pretraining_seconds=None
        if seconds is None
        else seconds * (waves * share + TRIAL_SHARE * -(-trials // experiment.workers)),
        trials=trials,
        rungs=[make_plan(rung, out) for rung in experiment.rungs],
        disk_megabytes=num_runs * 4e-6 * (parameters + max(extra.values(), default=0)),
        corpus=experiment.corpus.display_name,
        corpus_is_prepared=prepared is not None,
        warnings=_warnings(experiment, prepared, tokens),
        detection=None if detect is None else _detection(experiment, out, detect),
        finished_runs=_count_finished(experiment, out, prepared),
    )


def _encoder_costs(experiment: Experiment) -> tuple[float, int]:
    """Forward FLOPs of a row, and parameters of the encoder."""
    shape = experiment.shape
    if experiment.init is None:
        return encoder_row_flops(shape, shape.max_length), encoder_parameters(shape)
    from bench.pretraining.checkpoints.modules import encoder_costs

    encoder = encoder_costs(experiment.init, shape)
    return encoder.forward_flops(1, shape.max_length), sum(p.numel() for p in encoder.parameters())


def _continued(experiment: Experiment) -> str | None:
    if experiment.init is None:
        return None
    init, training = experiment.init, experiment.training
    source = "given"
    if training.learning_rate == experiment.size.training.learning_rate:
        source = "1e-4 of Gururangan et al. 2020, scaled to width and batch"
    head = "its own token head" if init.has_head else "a new token head"
    return (
        f"{init.name} ({init.family}, sha256 {init.sha256[:8]}) with {head}; learning rate "
        f"{training.learning_rate:g} ({source}), warm-up over {training.warmup:.0%} of the budget"
        + (
            f"; forgetting on {experiment.forget.display_name}"
            if experiment.forget is not None
            else ""
        )
    )


def _warnings(experiment: Experiment, prepared: Path | None, tokens: float | None) -> list[str]:
    """The warnings of `run`.

    Raises:
        BenchError: What `run` would refuse: examples of a task that cannot be used.
    """
    from bench.corpus.preparation import open_prepared
    from bench.engines.execution import check_tasks
    from bench.experiment.tasks import left_out, not_applicable
    from bench.probing.data.user_kinds import notes_of

    missing = dict(experiment.left_out)
    warnings: list[str] = []
    if prepared is not None:
        corpus = open_prepared(prepared)
        missing |= check_tasks(experiment, corpus, warnings.append)
        text = corpus.train.num_tokens
        if tokens is not None and tokens > 4 * text:
            times = f"{tokens / text:.1f} times"
            warnings.append(f"the budget reads the text {times}; expect overfitting")
    else:  # tasks of the user's files need no corpus
        errors: dict[str, BenchError] = {}
        for name, cls in experiment.tasks.items():
            if cls.is_own:
                task = cls()
                try:
                    splits = task.load(experiment.data)
                    task.check(splits)
                    warnings += [f"{name}: {note}" for note in notes_of(splits)]
                except BenchError as error:
                    errors[name] = error
        left_out(errors, experiment.tasks, (), "cannot be evaluated")
    warnings += experiment.cautions
    warnings += not_applicable(experiment.tasks, experiment.probes)
    warnings += [f"left out of the suite: {why}" for why in missing.values()]
    needed, available = _memory(experiment)
    needed *= experiment.workers
    if available and needed > available:
        warnings.append(
            f"the workers need about {needed / 1e9:.1f} GB of memory, and this machine has "
            f"{available / 1e9:.1f}; lower --set training.batch_tokens="
        )
    return warnings


def _memory(experiment: Experiment) -> tuple[float, float]:
    """Bytes of one worker by a rule of thumb, and those of this machine (0: unknown)."""
    import os

    shape, training = experiment.shape, experiment.training
    weights = 16.0 * encoder_parameters(shape)
    of_layer = 12 * shape.hidden_size + 3 * shape.mlp_size + shape.num_heads * shape.max_length
    activations = 4.0 * training.batch_tokens * shape.num_layers * of_layer
    logits = 12.0 * training.batch_tokens * shape.vocab_size
    try:
        machine = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        machine = 0.0
    return 4e8 + weights + activations + logits, machine


def _detection(experiment: Experiment, out: Path, difference: float) -> Detection | None:
    """From the records under `out` where some task has two seeds, else from reference results."""
    import tempfile
    import zipfile

    from bench import api
    from bench._layout import part_folder
    from bench.reporting.conclusions.detection import detection

    check_difference(difference)
    tasks = list(experiment.tasks)

    def of(folder: Path, source: str, names: list[str]) -> Detection | None:
        detections = (
            detection(table, difference, source, names) for table in api.compare(out=folder).tables
        )
        return next((one for one in detections if one is not None), None)

    if any((out / "runs").glob("*/scores")):
        own = of(out, f"the records under {out}", tasks)
        if own is not None:
            return own
    name = GENERATED if experiment.corpus.display_name == GENERATED else "real"
    archive = part_folder("results") / "reference" / name / "records.zip"
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as records:
            records.extractall(folder)
        source = f"the reference results ({name})"
        return of(Path(folder), source, tasks) or of(Path(folder), source, [])


def _tokens_per_second(
    experiment: Experiment, out: Path, flops_per_token: float
) -> tuple[float | None, str]:
    """The speed of the newest run of this encoder under `out`, else a rule of thumb for a CPU."""
    shape = as_mapping(experiment.shape)
    paths = (out / "runs").glob(f"*-{experiment.size.name}-*/run.json")
    for path in sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            speed, spec = record["tokens_per_second"], record["spec"]
            is_alike = all(spec["encoder"][k] == v for k, v in shape.items() if k != "vocab_size")
            is_alike = is_alike and spec["device"] == experiment.device
        except (ValueError, KeyError, TypeError, OSError):  # damaged: `run` and `compare` say so
            continue
        if speed and is_alike:
            return speed, f"as in {record['id']}"
    if experiment.device != "cpu":
        return None, "no run on this device yet"
    threads = experiment.training.threads
    speed = _FLOPS_PER_SECOND * threads / flops_per_token
    return speed, "a rule of thumb, correct within a factor of three"


def _count_finished(experiment: Experiment, out: Path, folder: Path | None) -> int | None:
    from bench.corpus.preparation import open_prepared

    if folder is None:
        return None
    specs = experiment.specs(open_prepared(folder))
    return sum((out / "runs" / spec.id / MANIFEST).is_file() for spec in specs)


def render(plan: Plan) -> str:
    """The plan as text, one line per topic."""
    seconds = plan.pretraining_seconds
    extra = ", ".join(f"{name} +{count:,}" for name, count in plan.extra_parameters.items())
    finished = "" if plan.finished_runs is None else f"; {plan.finished_runs} finished already"
    lines = [
        f"runs        {', '.join(plan.runs)} x seeds {plan.seeds}{finished}",
        f"tasks       {', '.join(plan.tasks) or 'none'}",
        f"encoder     {plan.size}: {plan.encoder_parameters:,} parameters; discarded after "
        f"pretraining: {extra or 'none'}",
        *([] if plan.continued is None else [f"continues   {plan.continued}"]),
        f"corpus      {plan.corpus}, {'' if plan.corpus_is_prepared else 'not yet '}prepared",
        f"budget      {plan.budget} per run: {_number(plan.tokens_per_run)} tokens, "
        f"{_number(plan.encoder_flops_per_run)} FLOPs of the encoder",
        *_curve_lines(plan.curve),
        f"time        {'unknown' if seconds is None else duration(seconds)} of pretraining with "
        f"{plan.workers} worker{'s' * (plan.workers > 1)} on {plan.device} at "
        f"{_number(plan.tokens_per_second)} tokens/s ({plan.speed_source}), plus probing",
        f"disk        {plan.disk_megabytes:.1f} MB",
        *([f"tuning      {plan.trials} trials at a tenth of the budget"] if plan.trials else []),
        *_detection_lines(plan),
        *(f"warning     {text}" for text in plan.warnings),
    ]
    for rung in plan.rungs:
        lines += ["", render(rung)]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if value < 1e9 else f"{value:.2g}".replace("e+", "e")


def _detection_lines(plan: Plan) -> list[str]:
    detection = plan.detection
    if detection is None:
        return []
    size = f"{detection.difference:g} points"
    if detection.difference == 1:
        size = "1 point"
    lines = [f"detect      {size}, with the variances of {detection.source}:"]
    per_seed = None
    if plan.pretraining_seconds is not None:
        per_seed = plan.pretraining_seconds / len(plan.seeds)

    def cost(seeds: int) -> str:
        hours = "" if per_seed is None else f", {duration(per_seed * seeds)} of pretraining"
        return f"{seeds} seeds of each objective{hours}"

    if detection.together is not None:
        lines.append(f"            all tasks together: {cost(detection.together)}")
    for task, seeds in detection.seeds.items():
        if seeds is None:
            smallest = f"{detection.smallest[task]:.1f}"
            lines.append(f"            {task}: not with 1,000 seeds; 30 seeds show {smallest}")
        else:
            lines.append(f"            {task}: {cost(seeds)}")
    return lines


def _curve_lines(curve: CurvePlan | None) -> list[str]:
    if curve is None:
        return []
    longest, *others = curve.budgets
    return [
        f"curve       also {', '.join(others)}, each a complete run on the same corpus: in all "
        f"{curve.cost_of_longest:.4g} times the cost of {longest} alone"
    ]
