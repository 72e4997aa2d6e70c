"""Grids of a ladder: how well each rung predicts the order of objectives at the next one."""

from __future__ import annotations

from bench.reporting.conclusions.ladder import Ladder, rung_name
from bench.reporting.rendering.blocks import Block


def ladder_blocks(ladder: Ladder) -> list[Block]:
    """Decision accuracy by task, the best predictor first."""
    rows: list[list[str]] = []
    firsts = set()
    for place in range(len(ladder.tables) - 1):
        firsts.add(len(rows))
        step = f"{rung_name(ladder.tables[place])} -> {rung_name(ladder.tables[place + 1])}"
        for task, (count, found) in ladder.agreement(place).items():
            pairs = count * (count - 1) // 2
            shown = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
            rows.append([step, task, str(pairs), shown])
    legend = (
        "decision accuracy: the share of pairs of objectives whose order is the same at the next "
        "rung (.5 is chance), with the 95 % interval over seeds; the best predictor first"
    )
    if len(ladder.tables) < 3:
        legend += ". An extrapolation to larger sizes needs three rungs"
    header = ["rung", "task", "pairs", "decision accuracy"]
    rules = frozenset(firsts - {0})
    return [Block("does the order hold?", header, rows, 2, rules=rules, legend=legend)]
