"""Summary of one finished run: costs, scores, and the score of every layer and pooling.

A table shows the chosen layer only. The summary also shows the others, so that the choice can be
checked.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records.scores import ScoreRecord
from bench.records.store import RunRecord, read_runs
from bench.storage import MANIFEST

_DETAILS = ("layer", "pooling", "c", "k", "epochs", "criterion", "selectivity", "train_labels")


@dataclasses.dataclass(frozen=True)
class ScoreSummary:
    """One score of a run."""

    probe: str | None
    task: str
    metric: str
    attention: str
    status: str
    """`ok` or `not_applicable`."""
    value: float | None
    stderr: float | None
    metrics: Mapping[str, Sequence[float]]
    """Metric -> (value, stderr)."""
    details: Mapping[str, Any]
    """The records of the task beside the score."""


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run and its scores."""

    name: str
    """The run's id."""
    display_name: str
    seed: int
    size: str
    status: str
    budget: Mapping[str, Any]
    spent: Mapping[str, float]
    """Cost by axis: tokens, predictions, flops, seconds."""
    parameters: Mapping[str, int]
    """Parameters of the encoder, and extra ones that are discarded after pretraining."""
    settings: Mapping[str, Any]
    continues: str | None
    """The checkpoint that it continues; its own cost is not known."""
    scores: tuple[ScoreSummary, ...]

    @property
    def summary(self) -> str:
        """The run in one line."""
        return f"{self.display_name}, seed {self.seed}, {self.size}, {self.status}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "kind": "run",
            "summary": self.summary,
            "display_name": self.display_name,
            "seed": self.seed,
            "size": self.size,
            "status": self.status,
            "budget": self.budget,
            "spent": self.spent,
            "parameters": self.parameters,
            "settings": self.settings,
            "continues": self.continues,
            "scores": [vars(score) for score in self.scores],
        }

    def to_text(self) -> str:
        """The summary for a terminal."""
        spent, parameters = self.spent, self.parameters
        lines = [
            f"{self.name} (run): {self.summary}",
            f"  spent: {spent['tokens']:,.0f} tokens, {spent['predictions']:,.0f} predictions, "
            f"{spent['flops']:.3g} FLOPs, {spent['seconds']:.0f} s",
            f"  parameters: {parameters['encoder']:,} of the encoder, {parameters['extra']:,} "
            "discarded after pretraining",
        ]
        if self.continues is not None:
            lines.insert(1, f"  continues: {self.continues}")
        for score in self.scores:
            lines += ["", *_score_lines(score)]
        if not self.scores:
            lines += ["", "no scores yet"]
        return "\n".join(lines)


def run_named(out: Path, name: str) -> RunRecord:
    """The run with an id, with a prefix of an id that no other run has, or in a folder.

    Args:
        out: The output root.
        name: The id, the prefix, or the path of the folder.

    Raises:
        BenchError: No run has that name, or several have.
        RefusedError: Its record is damaged.
    """
    ids = [path.name for path in (out / "runs").glob("*-*")]
    is_known = any(run.startswith(name) for run in ids) or (Path(name) / MANIFEST).is_file()
    if not name or not is_known:  # an output root with one run is not that run's name
        starts = {run[: len(name) + 1]: run for run in ids}
        near = difflib.get_close_matches(name, starts, n=1)
        hint = f"; did you mean '{starts[near[0]]}'?" if near else ""
        raise BenchError(f"no run named {name!r}{hint} ({out}/runs contains all {len(ids)})")
    runs = read_runs(out, [name])
    if len(runs) > 1:
        ids = [run.data["id"] for run in runs]
        shown = ", ".join(ids[:6]) + (", ..." if len(ids) > 6 else "")
        raise BenchError(
            f"{name!r} is the beginning of {len(ids)} runs: {shown}; write one of them"
        )
    return runs[0]


def summarize(run: RunRecord) -> RunSummary:
    """The summary of a run, its scores in order of task, probe and attention."""
    data = run.data
    keys = ("display_name", "seed", "size", "status", "budget", "spent", "parameters", "settings")
    return RunSummary(
        name=data["id"],
        **{key: data[key] for key in keys},
        continues=run.continues,
        scores=tuple(_score_summary(score) for score in sorted(run.scores, key=_order)),
    )


def _order(score: ScoreRecord) -> tuple[str, str, str]:
    data = score.data
    return data["task"], str(data["probe_settings"].get("probe", "")), data["attention"]


def _score_summary(score: ScoreRecord) -> ScoreSummary:
    keys = ("task", "metric", "attention", "status", "value", "stderr", "metrics", "details")
    return ScoreSummary(
        probe=score.data["probe_settings"].get("probe"), **{key: score.data[key] for key in keys}
    )


def _score_lines(score: ScoreSummary) -> list[str]:
    details = score.details
    protocol = [score.probe] if score.probe else []
    protocol += [score.attention] if score.attention != "native" else []
    title = score.task + (f" ({','.join(protocol)}): " if protocol else ": ")
    if score.status != "ok":
        return [f"{title}not applicable: {details.get('reason')}"]
    assert score.value is not None
    assert score.stderr is not None
    metrics = score.metrics or {score.metric: (score.value, score.stderr)}
    lines = [title + ", ".join(f"{n} {v:.4f} ±{e:.4f}" for n, (v, e) in metrics.items())]
    chosen = [f"{key} {_plain(details[key])}" for key in _DETAILS if key in details]
    lines += [f"  {', '.join(chosen)}"] if chosen else []
    lines += [f"  {note}" for note in details.get("data_notes", [])]
    if "seeds" in details:
        for seed in details["seeds"]:
            state = "collapsed" if seed["collapsed"] else f"stopped after epoch {seed['epochs']}"
            lines.append(f"  seed {seed['seed']}: dev {seed['dev']:.4f}, {state}")
    for name, part in (("", details), ("cosine: ", details.get("cosine"))):
        if part is not None and "grid" in part:
            names = part.get("poolings", details.get("poolings", []))
            if "embeddings" in part:
                tried = ", ".join(f"{key} {value:.4f}" for key, value in part["embeddings"].items())
                lines.append(f"  {name}embedding {part['embedding']} (on dev: {tried})")
            lines += _grid(name, part["grid"], names)
    return lines


def _grid(name: str, grid: list[list[float]], poolings: list[str]) -> list[str]:
    """The dev score of every layer and pooling; the highest, which was chosen, is marked."""
    best = max((value for row in grid for value in row), default=0.0)
    width = max([9, *(len(pooling) for pooling in poolings)]) + 2
    lines = [f"  {name + 'on dev':<14}" + "".join(f"{pooling:>{width}}" for pooling in poolings)]
    is_marked = False
    for layer, row in enumerate(grid):
        cells = []
        for value in row:
            mark = "*" if value == best and not is_marked else " "
            is_marked |= mark == "*"
            cells.append(f"{f'{value:.4f}{mark}':>{width}}")
        lines.append(
            f"  {f'layer {layer}' if layer else 'embeddings':<14}" + "".join(cells).rstrip()
        )
    return lines


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
