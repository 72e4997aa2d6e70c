"""One finished run by name: what it is, and the whole layer x pooling grid of each of its scores.

A table shows the layer that was chosen; whoever distrusts the choice wants to see the others.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records.store import RunRecord, ScoreRecord, read_runs

_SHOWN = ("layer", "pooling", "c", "k", "epochs", "criterion", "selectivity", "train_labels")


def run_named(out: Path, name: str) -> RunRecord:
    """The run of an id, of a prefix that no other run has, or of a folder.

    Raises:
        BenchError: None of that name, or several.
        RefusedError: Its record is damaged.
    """
    ids = [path.name for path in (out / "runs").glob("*-*")]
    if not any(run.startswith(name) for run in ids) and not Path(name).is_dir():
        starts = {run[: len(name) + 1]: run for run in ids}
        near = difflib.get_close_matches(name, starts, n=1)
        hint = f"; did you mean '{starts[near[0]]}'?" if near else ""
        raise BenchError(f"no run named {name!r}{hint} ({out}/runs holds all {len(ids)})")
    found = read_runs(out, [name])
    if len(found) > 1:
        ids = [run.data["id"] for run in found]
        shown = ", ".join(ids[:6]) + (", ..." if len(ids) > 6 else "")
        raise BenchError(
            f"{name!r} is the beginning of {len(ids)} runs: {shown}; write one of them"
        )
    return found[0]


def facts_of(run: RunRecord) -> dict[str, Any]:
    """A run and its scores as plain values."""
    data = run.data
    keys = ("display_name", "seed", "size", "status", "budget", "spent", "parameters", "settings")
    return {
        "name": data["id"],
        "kind": "run",
        "summary": f"{data['display_name']}, seed {data['seed']}, {data['size']}, {data['status']}",
        **{key: data[key] for key in keys},
        "scores": [_score(score) for score in sorted(run.scores, key=_order)],
    }


def _order(score: ScoreRecord) -> tuple[str, str, str]:
    data = score.data
    return data["task"], str(data["probe_settings"].get("probe", "")), data["attention"]


def _score(score: ScoreRecord) -> dict[str, Any]:
    keys = ("task", "metric", "attention", "status", "value", "stderr", "metrics", "details")
    return {
        "probe": score.data["probe_settings"].get("probe"),
        **{key: score.data[key] for key in keys},
    }


def render_run(found: dict[str, Any]) -> str:
    """The facts as text."""
    spent = found["spent"]
    lines = [
        f"{found['name']} (run): {found['summary']}",
        f"  spent: {spent['tokens']:,.0f} tokens, {spent['predictions']:,.0f} predictions, "
        f"{spent['flops']:.3g} FLOPs, {spent['seconds']:.0f} s",
        f"  parameters: {found['parameters']['encoder']:,}, thrown away "
        f"{found['parameters']['extra']:,}",
    ]
    for score in found["scores"]:
        lines += ["", *_score_lines(score)]
    if not found["scores"]:
        lines += ["", "no scores yet"]
    return "\n".join(lines)


def _score_lines(score: dict[str, Any]) -> list[str]:
    details = score["details"]
    how = [score["probe"]] if score["probe"] else []
    how += [score["attention"]] if score["attention"] != "native" else []
    title = f"{score['task']}{f' ({chr(44).join(how)})' if how else ''}: "
    if score["status"] != "ok":
        return [f"{title}not applicable: {details.get('reason')}"]
    metrics = score["metrics"] or {score["metric"]: (score["value"], score["stderr"])}
    lines = [title + ", ".join(f"{n} {v:.4f} ±{e:.4f}" for n, (v, e) in metrics.items())]
    chosen = [f"{key} {_plain(details[key])}" for key in _SHOWN if key in details]
    lines += [f"  {', '.join(chosen)}"] if chosen else []
    if "seeds" in details:
        for seed in details["seeds"]:
            state = "collapsed" if seed["collapsed"] else f"stopped after epoch {seed['epochs']}"
            lines.append(f"  seed {seed['seed']}: dev {seed['dev']:.4f}, {state}")
    cosine = details.get("cosine")
    for name, part in (("", details), ("cosine: ", cosine)):
        if part is not None and "grid" in part:
            names = part.get("poolings", details.get("poolings", []))
            lines += _grid(name, part["grid"], names)
    return lines


def _grid(name: str, grid: list[list[float]], poolings: list[str]) -> list[str]:
    """The dev score of every layer and pooling; the greatest, which was chosen, marked."""
    best = max(value for row in grid for value in row)
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
