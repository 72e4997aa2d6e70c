"""What a `run` would do, for `bench plan`: counts from formulas, time from runs already made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.pretraining.ledger import TRAINING_FACTOR, encoder_parameters, encoder_row_flops
from bench.settings import as_mapping
from bench.spec import share_of_longest

if TYPE_CHECKING:
    from bench.experiment import Experiment

_FLOPS_PER_SECOND = 2e10
"""Of one core, if no run on this machine says better: good to a factor of three."""


def forecast(experiment: Experiment, out: Path) -> dict[str, Any]:
    """Runs, parameters, tokens, FLOPs, time, disk, and what is there already, as plain values."""
    from bench.corpus.preparation import default_cache, find_prepared

    shape, training, budget = experiment.shape, experiment.training, experiment.budget
    row = TRAINING_FACTOR * encoder_row_flops(shape, shape.max_length)
    speed, speed_source = _tokens_per_second(experiment, out, row / shape.max_length)
    tokens = {
        "tokens": budget.amount,
        "predictions": None,
        "flops": budget.amount / row * shape.max_length,
        "seconds": None if speed is None else budget.amount * speed,
    }[budget.axis]
    trained = [o for o in experiment.objectives.values() if o.trains]
    seconds = None if tokens is None or speed is None else tokens / speed
    if budget.axis == "seconds":
        seconds = budget.amount
    waves = -(-len(trained) * len(experiment.seeds) // experiment.workers)
    parameters = encoder_parameters(shape)
    extra = {o.display_name: o.extra_cost(shape).parameters for o in trained}
    prepared = find_prepared(
        experiment.corpus, experiment.tokenizer, shape.vocab_size, default_cache()
    )
    points = len(experiment.budgets)
    num_models = len(experiment.objectives) + (points - 1) * len(trained)
    num_runs = num_models * len(experiment.seeds)
    share = share_of_longest(points)
    curve = {"budgets": [str(one) for one in experiment.budgets], "cost_of_longest": share}
    return {
        "runs": [o.display_name for o in experiment.objectives.values()],
        "seeds": experiment.seeds,
        "tasks": list(experiment.tasks),
        "size": experiment.size.name,
        "device": experiment.device,
        "threads": training.threads,
        "budget": str(budget),
        "curve": curve if points > 1 else None,
        "encoder_parameters": parameters,
        "extra_parameters": extra,
        "tokens_per_run": tokens,
        "encoder_flops_per_run": None if tokens is None else tokens * row / shape.max_length,
        "tokens_per_second": speed,
        "speed_is": speed_source,
        "pretraining_seconds": None if seconds is None else seconds * waves * share,
        "disk_megabytes": num_runs * 4e-6 * (parameters + max(extra.values(), default=0)),
        "corpus": experiment.corpus.display_name,
        "corpus_is_prepared": prepared is not None,
        "finished_runs": _finished(experiment, out, prepared),
    }


def _tokens_per_second(experiment: Experiment, out: Path, flops: float) -> tuple[float | None, str]:
    """From the newest run of this encoder under `out`, else from a rule of thumb for a CPU."""
    shape = as_mapping(experiment.shape)
    paths = (out / "runs").glob(f"*-{experiment.size.name}-*/run.json")
    for path in sorted(paths, key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            speed, spec = record["tokens_per_second"], record["spec"]
        except (ValueError, KeyError, OSError):  # damaged: `run` and `compare` will say so
            continue
        is_alike = all(spec["encoder"][k] == v for k, v in shape.items() if k != "vocab_size")
        if speed and is_alike and spec["device"] == experiment.device:
            return speed, f"as in {record['id']}"
    if experiment.device != "cpu":
        return None, "no run on this device yet"
    cores = experiment.training.threads
    return _FLOPS_PER_SECOND * cores / flops, "a rule of thumb, good to a factor of three"


def _finished(experiment: Experiment, out: Path, folder: Path | None) -> int | None:
    """How many of the runs are done; None before the corpus is prepared, when ids are unknown."""
    from bench.corpus.preparation import open_prepared

    if folder is None:
        return None
    specs = experiment.specs(open_prepared(folder))
    return sum((out / "runs" / spec.id).is_dir() for spec in specs)


def render(found: dict[str, Any]) -> str:
    """The forecast as text."""

    def number(value: float | None) -> str:
        if value is None:
            return "unknown until run"
        return f"{value:,.0f}" if value < 1e9 else f"{value:.2g}".replace("e+", "e")

    seconds = found["pretraining_seconds"]
    extra = ", ".join(f"{name} +{count:,}" for name, count in found["extra_parameters"].items())
    finished = found["finished_runs"]
    lines = [
        f"runs        {', '.join(found['runs'])} x seeds {found['seeds']}"
        + ("" if finished is None else f"; {finished} finished already"),
        f"tasks       {', '.join(found['tasks']) or 'none'}",
        f"encoder     {found['size']}: {found['encoder_parameters']:,} parameters; thrown away: "
        f"{extra or 'nothing'}",
        f"corpus      {found['corpus']}"
        f" ({'prepared' if found['corpus_is_prepared'] else 'to be prepared'})",
        f"budget      {found['budget']} a run: {number(found['tokens_per_run'])} tokens, "
        f"{number(found['encoder_flops_per_run'])} FLOPs of the encoder",
        *_curve_lines(found["curve"]),
        f"time        {'unknown' if seconds is None else f'{seconds / 60:.1f} minutes'} of "
        f"pretraining on {found['device']} at {number(found['tokens_per_second'])} tokens/s "
        f"({found['speed_is']}); probing comes on top",
        f"disk        {found['disk_megabytes']:.1f} MB",
    ]
    return "\n".join(lines)


def _curve_lines(curve: dict[str, Any] | None) -> list[str]:
    """What a curve adds, in proportion to the longest run."""
    if curve is None:
        return []
    longest, *others = curve["budgets"]
    share = curve["cost_of_longest"]
    return [
        f"curve       and {', '.join(others)}, each a complete run on the same corpus: in all "
        f"{share:.4g} times the cost of {longest} alone"
    ]
