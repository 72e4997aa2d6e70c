"""The grids of text that a table comes to, before any format's spelling.

Every format writes the same grids, so that what a terminal shows and what a paper prints are the
same figures with the same marks.
"""

from __future__ import annotations

import dataclasses

from bench.reporting.cells import Cell
from bench.reporting.formatting import BELOW, big_number, decimal, width, width_legend
from bench.reporting.table import Column, Row, Table
from bench.statistics.aggregate import Aggregate

_MOST_TASKS = 12
"""Of an aggregate that its legend names; of more it says how many."""


@dataclasses.dataclass
class Block:
    """A grid of text under a heading; the first `fixed` columns repeat where it is split."""

    heading: str
    header: list[str]
    rows: list[list[str]]
    fixed: int = 1
    rules: frozenset[int] = frozenset()
    """Rows with a rule above."""
    bold: frozenset[tuple[int, int]] = frozenset()
    legend: str = ""


def table_blocks(table: Table) -> list[Block]:
    """All that is told of a table, in grids; every format and the page write these."""
    grids = [_scores_block(table)] if table.columns else []
    if table.aggregates:
        grids.append(_aggregate_block(table))
    if table.difference_to is not None and table.columns:
        grids.append(_difference_block(table, table.difference_to))
    if any(cell.selectivity is not None for cell in table.cells.values()):
        grids.append(_selectivity_block(table))
    return [*grids, _cost_block(table)]


def _scores_block(table: Table) -> Block:
    rows: list[list[str]] = []
    bold: set[tuple[int, int]] = set()
    for entry in table.rows:
        row = [entry.name, _seeds_text(entry)]
        for column in table.columns:
            cell = table.cells[entry.name, column.name]
            text = cell_text(cell, table, column)
            if cell.interval is not None and cell.interval.seeds != len(entry.finished):
                text += f" (n={cell.interval.seeds})"
            text += _mark(table, entry, column)
            if table.best.get(column.name) == entry.name:
                bold.add((len(rows), len(row)))
                text += " *"
            row.append(text)
        rows.append(row)
    chances = [(column.chance, table.scale(column)) for column in table.columns]
    rows.append(
        ["chance", "", *("-" if value is None else decimal(value * by) for value, by in chances)]
    )
    if table.detectable:
        gaps = [(table.detectable.get(column.name), column) for column in table.columns]
        rows.append(["smallest gap", "", *(_gap_text(gap, table, column) for gap, column in gaps)])
    legend = _scores_legend(table, is_marked=bool(bold)) + _wide(rows)
    firsts = [next((i for i, e in enumerate(table.rows) if e.kind == kind), len(table.rows))
              for kind in ("untrained", "baseline")]  # fmt: skip
    header = ["objective", "seeds", *(column.name for column in table.columns)]
    rules = frozenset({min(firsts)} - {0})
    return Block("scores", header, rows, 2, rules, frozenset(bold), legend)


def _mark(table: Table, entry: Row, column: Column) -> str:
    """Whom a score cannot be told from, or that it is below the highest."""
    if table.has_letters:
        letters = table.letters.get((entry.name, column.name))
        return f" {letters}" if letters else ""
    return f" {BELOW}" if (entry.name, column.name) in table.below else ""


def _scores_legend(table: Table, is_marked: bool) -> str:
    legend = "mean over seeds ± half the 95 % interval, over seeds and test examples. "
    legend += _units(table)
    if is_marked:
        legend += ". * best: separable from every other objective"
    if table.letters:
        count = sum(entry.kind != "baseline" for entry in table.rows)
        pairs = count * (count - 1) // 2 if table.has_letters else count - 1
        each = f", each of {pairs} pairs by itself" if pairs > 1 else ""
        if table.has_letters:
            legend += ". Objectives that share a letter are not separable (paired 95 % intervals"
        elif table.below:
            legend += f". {BELOW} separably below the highest objective (paired 95 % intervals"
        else:
            legend += ". No objective is separably below the highest (paired 95 % intervals"
        legend += f"{each})"
    if table.detectable:
        legend += ". smallest gap: of two objectives, that half of such runs would see"
    return legend


def _units(table: Table) -> str:
    """What is shown, the unit of most columns last."""
    units: dict[str, list[str]] = {}
    for column in table.columns:
        unit = column.metric + (" x 100" if table.scale(column) == 100 else "")
        units.setdefault(unit, []).append(column.name)
    *others, usual = sorted(units, key=lambda unit: len(units[unit]))
    said = [f"{unit}: {', '.join(units[unit])}" for unit in others]
    return "; ".join([*said, f"{usual}: all others" if others else usual])


def _aggregate_block(table: Table) -> Block:
    """Interquartile mean x 100 and mean rank, for all tasks and for each suite."""
    overall = table.aggregates
    rows = []
    for entry in table.rows:
        if not any(entry.name in one.rows for one in overall):
            continue
        standings = [_standing(one, entry.name, table.has_letters) for one in overall]
        rows.append([entry.name, *(text for texts in standings for text in texts)])
    header = ["objective"]
    for one in overall:
        header += [f"{one.name}: mean", f"{one.name}: rank"]
    legend = (
        "mean: interquartile mean over tasks x 100, on which 0 is guessing and 100 the best "
        "objective of each task; rank: mean over tasks and seeds; ± half the 95 % interval, over "
        "seeds and test examples. "
    )
    if table.has_letters:
        legend += "Those that share a letter are not separable. "
    elif any(one.below for one in overall):
        legend += f"{BELOW} separably below the highest. "
    legend += "; ".join(f"{one.name}: {_tasks_text(one)}" for one in overall)
    legend += _wide(rows) + _left_out(overall[0])
    return Block("over tasks", header, rows, legend=legend)


def _tasks_text(aggregate: Aggregate) -> str:
    count = len(aggregate.tasks)
    return ", ".join(aggregate.tasks) if count <= _MOST_TASKS else f"{count} tasks"


def _left_out(aggregate: Aggregate) -> str:
    """Each reason once, with all it keeps out."""
    names: dict[str, list[str]] = {}
    for name, why in aggregate.left_out.items():
        names.setdefault(why, []).append(name)
    said = "; ".join(f"{', '.join(out)} ({why})" for why, out in names.items())
    return f". LEFT OUT: {said}" if said else ""


def _standing(aggregate: Aggregate, name: str, has_letters: bool) -> list[str]:
    if name not in aggregate.rows:
        return ["left out", "-"]
    iqm, rank = aggregate.of(name)
    shown = f"{decimal(iqm.mean * 100)} ±{width(iqm.half_width * 100, 100)}"
    if has_letters:
        shown += f" {aggregate.letters[name]}"
    elif name in aggregate.below:
        shown += f" {BELOW}"
    if rank is None:
        return [shown, "-"]
    return [shown, f"{decimal(rank.mean, 2)} ±{width(rank.half_width, aggregate.num_ranks - 1, 2)}"]


def _difference_block(table: Table, baseline: str) -> Block:
    rows: list[list[str]] = []
    bold: set[tuple[int, int]] = set()
    for entry in table.rows:
        if entry.name == baseline or entry.kind == "baseline":
            continue
        row = [entry.name]
        for column in table.columns:
            gap = table.difference(entry.name, baseline, column.name)
            by, length = table.scale(column), table.length(column)
            text = (
                "-"
                if gap is None
                else f"{decimal(gap.mean * by, sign='+')} ±{width(gap.half_width * by, length)}"
            )
            if gap is not None and gap.is_significant:
                bold.add((len(rows), len(row)))
                _, stands = table.tests[entry.name, column.name]
                text += " **" if stands and len(table.columns) > 1 else " *"
            row.append(text)
        rows.append(row)
    return Block(
        heading=f"difference to {baseline}",
        header=["objective", *(column.name for column in table.columns)],
        rows=rows,
        bold=frozenset(bold),
        legend="paired by seed and test example; ± is also the smallest gap that could have been "
        "seen. * the 95 % interval excludes zero"
        + ("; ** also at 5 % over all columns together (Holm)" if len(table.columns) > 1 else "")
        + _wide(rows),
    )


def _selectivity_block(table: Table) -> Block:
    known = {key for key, cell in table.cells.items() if cell.selectivity is not None}
    columns = [column for column in table.columns if column.name in {name for _, name in known}]
    rows = []
    for entry in table.rows:
        if entry.name not in {name for name, _ in known}:
            continue
        cells = [(table.cells[entry.name, column.name].selectivity, column) for column in columns]
        texts = ["-" if x is None else decimal(x * table.scale(column)) for x, column in cells]
        rows.append([entry.name, *texts])
    header = ["objective", *(column.name for column in columns)]
    legend = "score minus the score on shuffled labels: what the probe could not learn by itself"
    return Block("selectivity", header, rows, legend=legend)


def _cost_block(table: Table) -> Block:
    rows = []
    for entry in table.rows:
        if entry.kind == "baseline" or entry.attention != "native":
            continue
        tokens, predictions, flops, seconds = entry.spent.values()
        speed = entry.cost(lambda run: run["tokens_per_second"])
        extra = entry.runs[0].data["parameters"]["extra"]
        rows.append(
            [
                entry.name,
                big_number(tokens),
                big_number(predictions),
                f"{flops:.1e}".replace("e+", "e") if flops else "0",
                f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}",
                "-" if speed is None else big_number(speed),
                big_number(extra),
            ]
        )
    header = ["objective", "tokens", "predictions", "FLOPs", "seconds", "tokens/s", "extra params"]
    return Block("cost of one pretraining, mean over seeds", header, rows)


def _seeds_text(entry: Row) -> str:
    if not entry.runs:
        return "-"
    finished, total = len(entry.finished), len(entry.runs)
    return str(total) if finished == total else f"{finished} of {total}"


def cell_text(cell: Cell, table: Table, column: Column) -> str:
    """A mean with half its interval, or why there is none."""
    if cell.interval is None:
        return {"not_applicable": "n/a", "missing": "-"}.get(cell.status, cell.status)
    by = table.scale(column)
    half = width(cell.interval.half_width * by, table.length(column))
    return f"{decimal(cell.interval.mean * by)} ±{half}"


def _gap_text(gap: float | None, table: Table, column: Column) -> str:
    return "-" if gap is None else width(gap * table.scale(column), table.length(column))


def _wide(rows: list[list[str]]) -> str:
    return width_legend(text for row in rows for text in row[1:])
