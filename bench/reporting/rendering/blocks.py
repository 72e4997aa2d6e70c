"""Grids of text for a table, independent of the output format.

All formats write the same grids, so a terminal, a paper and a page show the same numbers with the
same marks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.reporting.cells import Cell
from bench.reporting.columns import Column
from bench.reporting.conclusions.tuned import trial_rows
from bench.reporting.formatting import (
    BELOW,
    big_number,
    decimal,
    listing,
    width,
    width_legend,
)
from bench.reporting.rendering.legends import MIN_DETECTABLE, aggregate_legend, scores_legend
from bench.reporting.table import Row, Table
from bench.statistics.aggregate import Aggregate
from bench.statistics.intervals import Interval


@dataclasses.dataclass
class Block:
    """A grid of text under a heading. If it is split, its first `fixed` columns are repeated."""

    heading: str
    header: list[str]
    rows: list[list[str]]
    fixed: int = 1
    rules: frozenset[int] = frozenset()
    """Indices of rows with a rule above."""
    bold: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of cells in bold."""
    legend: str = ""
    is_by_task: bool = False
    """Whether its columns are tasks, so that it may be transposed."""


def table_blocks(table: Table) -> list[Block]:
    """All grids of a table; every format and the page write these."""
    grids = [scores_block(table)] if table.columns else []
    if table.aggregates:
        grids.append(_aggregate_block(table))
    if table.difference_to is not None and table.columns:
        grids.append(_difference_block(table, table.difference_to))
    if any(cell.selectivity is not None for cell in table.cells.values()):
        grids.append(_selectivity_block(table))
    trials = trial_rows(table)
    if trials:
        legend = (
            "trials at a tenth of the budget, equal for all: the loss of each (lower is better)"
        )
        header = ["objective", "chosen", "trials", "cost of the trials"]
        grids.append(Block("tuning", header, trials, legend=legend))
    learning = _learning_block(table)
    return [*grids, *([learning] if learning else []), _cost_block(table)]


def scores_block(table: Table) -> Block:
    """The scores of every row and column, with chance and minimum detectable differences."""
    rows: list[list[str]] = []
    bold: set[tuple[int, int]] = set()
    for row in table.rows:
        texts = [row.name, _seeds_text(row)]
        for column in table.columns:
            cell = table.cells[row.name, column.name]
            text = cell_text(cell, table, column)
            expected = 0 if row.is_untouched else len(row.finished)
            if cell.interval is not None and cell.interval.seeds != expected:
                text += f" (n={cell.interval.seeds})"
            text += _mark(table, row, column)
            if table.best.get(column.name) == row.name:
                bold.add((len(rows), len(texts)))
                text += " *"
            texts.append(text)
        rows.append(texts)
    chances = [(column.chance, table.scale(column)) for column in table.columns]
    rows.append(
        ["chance", "", *("-" if value is None else decimal(value * by) for value, by in chances)]
    )
    if table.detectable:
        smallest = [
            _detectable_text(table.detectable.get(column.name), table, column)
            for column in table.columns
        ]
        rows.append([MIN_DETECTABLE, "", *smallest])
    if table.signal:
        signal = [table.signal.get(column.name) for column in table.columns]
        rows.append(["signal/noise", "", *("-" if x is None else f"{x:.1f}" for x in signal)])
    legend = scores_legend(table, bool(bold), [text for texts in rows for text in texts[1:]])
    firsts = [
        next((i for i, row in enumerate(table.rows) if row.kind == kind), len(table.rows))
        for kind in ("untrained", "baseline")
    ]
    header = ["objective", "seeds", *(column.name for column in table.columns)]
    rules = frozenset({min(firsts)} - {0})
    return Block("scores", header, rows, 2, rules, frozenset(bold), legend, is_by_task=True)


def _mark(table: Table, row: Row, column: Column) -> str:
    """The letters of a score, or the mark of a score significantly below the highest."""
    if table.has_letters:
        letters = table.letters.get((row.name, column.name))
        return f" {letters}" if letters else ""
    return f" {BELOW}" if (row.name, column.name) in table.below else ""


def _aggregate_block(table: Table) -> Block:
    """Interquartile mean x 100 and mean rank, over all tasks and over each suite."""
    overall = table.aggregates
    rows = []
    for row in table.rows:
        if not any(row.name in one.rows for one in overall):
            continue
        pairs = [_aggregate_texts(one, row.name, table.has_letters) for one in overall]
        rows.append([row.name, *(text for pair in pairs for text in pair)])
    header = ["objective"]
    for one in overall:
        header += [f"{one.name}: mean", f"{one.name}: rank"]
    legend = aggregate_legend(table, [text for texts in rows for text in texts[1:]])
    return Block("over tasks", header, rows, legend=legend)


def _aggregate_texts(aggregate: Aggregate, name: str, has_letters: bool) -> list[str]:
    """Mean and rank of a row in one aggregate."""
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
    for row in table.rows:
        if row.name == baseline or row.kind == "baseline":
            continue
        texts = [row.name]
        for column in table.columns:
            difference = table.difference(row.name, baseline, column.name)
            text = _difference_text(difference, table, column)
            if difference is not None and difference.is_significant:
                bold.add((len(rows), len(texts)))
                _, is_rejected = table.tests[row.name, column.name]
                text += " **" if is_rejected and len(table.columns) > 1 else " *"
            texts.append(text)
        rows.append(texts)
    return Block(
        heading=f"difference to {baseline}",
        is_by_task=True,
        header=["objective", *(column.name for column in table.columns)],
        rows=rows,
        bold=frozenset(bold),
        legend="paired by seed and test example; ± half the 95 % interval, which is also the "
        "minimum detectable difference. * the 95 % interval excludes zero"
        + ("; ** also at 5 % over all columns together (Holm)" if len(table.columns) > 1 else "")
        + _width_legend(rows),
    )


def _difference_text(difference: Interval | None, table: Table, column: Column) -> str:
    if difference is None:
        return "-"
    by, length = table.scale(column), table.length(column)
    half = width(difference.half_width * by, length)
    return f"{decimal(difference.mean * by, sign='+')} ±{half}"


def _selectivity_block(table: Table) -> Block:
    known = {key for key, cell in table.cells.items() if cell.selectivity is not None}
    columns = [column for column in table.columns if column.name in {name for _, name in known}]
    rows = []
    for row in table.rows:
        if row.name not in {name for name, _ in known}:
            continue
        cells = [(table.cells[row.name, column.name].selectivity, column) for column in columns]
        texts = ["-" if x is None else decimal(x * table.scale(column)) for x, column in cells]
        rows.append([row.name, *texts])
    header = ["objective", *(column.name for column in columns)]
    legend = (
        "score of the probe minus the score of the same probe on random labels, one per word or "
        "text: the part that the probe cannot learn by itself. By the criterion of the probe's "
        "choices: accuracy, Spearman's correlation, or Matthews' correlation of the labels in "
        "columns of F1"
    )
    return Block("selectivity", header, rows, legend=legend, is_by_task=True)


def _cost_block(table: Table) -> Block:
    rows = []
    for row in table.rows:
        if row.kind == "baseline" or row.attention != "native":
            continue
        tokens, predictions, flops, seconds = row.spent.values()
        speed = row.cost(lambda run: run["tokens_per_second"])
        extra = row.runs[0].data["parameters"]["extra"]
        rows.append(
            [
                row.name,
                big_number(tokens),
                big_number(predictions),
                f"{flops:.1e}".replace("e+", "e") if flops else "0",
                f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}",
                "-" if speed is None else big_number(speed),
                big_number(extra),
            ]
        )
    header = ["objective", "tokens", "predictions", "FLOPs", "seconds", "tokens/s", "extra params"]
    machines = {row.name: row.machines for row in table.rows}
    if len({one for names in machines.values() for one in names}) > 1:
        header.append("machine")
        for texts in rows:
            texts.append("; ".join(machines[texts[0]]))
    return Block("cost of one pretraining, mean over seeds", header, rows)


def _learning_block(table: Table) -> Block | None:
    """The final losses beside those of token frequencies; None for records that lack them."""
    rows = []
    for row in table.rows:
        losses = [run.data.get("validation_loss") for run in row.runs]
        if row.kind != "trained" or row.attention != "native" or all(x is None for x in losses):
            continue
        learned = sum(run.status == "finished" for run in row.runs)
        floor = row.runs[0].data.get("unigram_loss")
        overfits = [run.data["overfits_from_epoch"] for run in row.runs if _overfits(run.data)]
        rows.append(
            [
                row.name,
                f"{learned} of {len(row.runs)}",
                " ".join("-" if loss is None else f"{loss:.2f}" for loss in losses),
                "-" if floor is None else f"{floor:.2f}",
                f"{row.cost(lambda run: run['spent'].get('epochs')) or 0.0:.2g}",
                f"{sum(overfits) / len(overfits):.2g}" if overfits else "-",
            ]
        )
    header = ["objective", "learned", "validation loss", "unigram", "epochs", "overfits from"]
    legend = (
        "validation loss of each seed in nats, comparable within a row only; unigram: the loss of "
        "predicting each token by its frequency, on the same labels (- where the loss has no such "
        "floor; then the features are compared with the untrained encoder's); overfits from: the "
        "epoch of the lowest validation loss, where it rises afterwards"
    )
    forgetting = {row.name: _forgetting(row) for row in table.rows}
    if any(forgetting.values()):
        header.append("second corpus")
        names = {name for row in table.rows for name in _second_corpora(row).values()}
        for texts in rows:
            texts.append(forgetting[texts[0]] or "-")
        legend += (
            f"; second corpus: the same loss on the text of --forget ({listing(sorted(names))}), "
            "before -> after, mean over seeds (- where the head is not the checkpoint's own, or "
            "predicts something else); a rise is forgetting"
        )
    return Block("did it learn?", header, rows, legend=legend) if rows else None


def _forgetting(row: Row) -> str:
    """The loss on a second corpus before and after; empty where it is unknown or means nothing."""
    ends = []
    for end in ("before", "after"):
        mean = row.cost(lambda run, end=end: run.get("forgetting", {}).get(end))  # type: ignore[misc]
        ends.append(mean)
    is_kept = all(run.data.get("init", {}).get("keeps_head") for run in row.runs)
    if not is_kept or None in ends:
        return ""
    corpora = _second_corpora(row)
    if len(corpora) > 1:
        return f"of {listing(sorted(corpora.values()))}"
    return " -> ".join(f"{mean:.2f}" for mean in ends)


def _second_corpora(row: Row) -> dict[str, str]:
    """Fingerprint -> name of the texts of --forget."""
    measured = [run.data["forgetting"] for run in row.finished if "forgetting" in run.data]
    return {str(one.get("corpus_sha256")): str(one["corpus"]) for one in measured}


def _overfits(run: dict[str, Any]) -> bool:
    return run.get("overfits_from_epoch") is not None


def _seeds_text(row: Row) -> str:
    if not row.runs or row.is_untouched:
        return "-"
    finished, total = len(row.finished), len(row.runs)
    if row.kind == "trained" and row.finished and not row.is_ranked:
        return f"{finished}, did not learn"
    return str(total) if finished == total else f"{finished} of {total}"


def cell_text(cell: Cell, table: Table, column: Column) -> str:
    """A mean with half its interval, or the reason why there is none."""
    if cell.interval is None:
        return {"not_applicable": "n/a", "missing": "-"}.get(cell.status, cell.status)
    by = table.scale(column)
    half = width(cell.interval.half_width * by, table.length(column))
    return f"{decimal(cell.interval.mean * by)} ±{half}"


def _detectable_text(smallest: float | None, table: Table, column: Column) -> str:
    return "-" if smallest is None else width(smallest * table.scale(column), table.length(column))


def _width_legend(rows: list[list[str]]) -> str:
    return width_legend(text for row in rows for text in row[1:])
