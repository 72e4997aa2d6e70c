"""Grids of a ladder: how well each rung predicts the order of objectives at the next one."""

from __future__ import annotations

from bench.reporting.conclusions.ladder import Ladder, rung_name
from bench.reporting.formatting import decimal, listing
from bench.reporting.rendering.blocks import Block
from bench.statistics.agreement import Estimate


def ladder_blocks(ladder: Ladder) -> list[Block]:
    """Decision accuracy by task, the best predictor first."""
    rows: list[list[str]] = []
    firsts = set()
    for place in range(len(ladder.tables) - 1):
        firsts.add(len(rows))
        step = f"{rung_name(ladder.tables[place])} -> {rung_name(ladder.tables[place + 1])}"
        for task, (count, estimate) in ladder.agreement(place).items():
            pairs = count * (count - 1) // 2
            ends = f"{estimate.low:.2f} to {estimate.high:.2f}"
            interval = ends if estimate.has_interval else "one seed"
            rows.append([step, task, str(pairs), f"{estimate.value:.2f} ({interval})"])
    legend = (
        "decision accuracy: the share of pairs of objectives whose order is the same at the next "
        "rung (.5 is chance), with the 95 % interval over seeds; the best predictor first"
    )
    if len(ladder.tables) < 3:
        legend += ". An extrapolation to larger sizes needs three rungs"
    changed = [task for place in range(len(ladder.tables) - 1) for task in ladder.changed(place)]
    if changed:
        names = listing(list(dict.fromkeys(changed)))
        legend += f". Not compared, because data, probe or code differ between rungs: {names}"
    header = ["rung", "task", "pairs", "decision accuracy"]
    rules = frozenset(firsts - {0})
    agreement = Block("does the order hold?", header, rows, 2, rules=rules, legend=legend)
    return [agreement, *_extrapolation(ladder)]


def _extrapolation(ladder: Ladder) -> list[Block]:
    """Scores at the next rung, if there are three rungs."""
    estimates = ladder.extrapolated()
    if not estimates:
        return []
    last = ladder.tables[-1]
    scales = {task: last.scale(column) for task, column in last.headlines.items()}
    rows = []
    for name in dict.fromkeys(name for scores in estimates.values() for name in scores):
        texts = [name]
        for task, scores in estimates.items():
            one, by = scores.get(name), scales[task]
            texts.append("-" if one is None else _range_text(one, by))
        rows.append(texts)
    legend = (
        f"a straight line in log2 of FLOPs through {len(ladder.tables)} rungs, at "
        f"{ladder.next_flops:.1e} FLOPs, with the 95 % prediction interval; deviations from the "
        "lines are pooled over objectives. It holds only if the lines stay straight"
    )
    header = ["objective", *estimates]
    return [Block("extrapolated", header, rows, legend=legend, is_by_task=True)]


def _range_text(one: Estimate, by: float) -> str:
    return f"{decimal(one.value * by)} ({decimal(one.low * by)} to {decimal(one.high * by)})"
