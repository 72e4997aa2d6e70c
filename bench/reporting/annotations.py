"""What may be concluded from a table: its best, its letters, its warnings, and what is in doubt.

A best is marked where its paired difference to every other objective excludes zero: all of these
must hold at once, so none of them needs a correction. Letters speak about one pair at a time, as
that mark does: with K equal objectives some pair is told apart more often than any one pair is
(the aggregates of 4 equal objectives, 2 to 5 seeds, 500 simulations each: some pair of the 6 in 14
to 27 %, one given pair in 3 to 6 %), and the legend says how many pairs there are. What is claimed
over several tasks is corrected (Holm).
"""

from __future__ import annotations

import itertools

import numpy as np

from bench.reporting.cells import Cell
from bench.reporting.formatting import decimal, listing, width
from bench.reporting.table import Column, Row, Table
from bench.statistics.pairwise import letters, minimum_detectable_difference

_MORE_SEEDS = "repeat with --seeds 0-2 or more"
_OVERLAP_SHARE = 0.01
"""Less of the test than this is not worth a line."""
_MOST_CLEAN = 4
"""Scores without it that a line has room for."""


def annotate(table: Table, asked_baseline: str | None) -> None:
    """Write letters, warnings and notes into a table."""
    table.warnings.extend(_warnings(table, asked_baseline))
    for column in table.columns:
        _letter(table, column)
    for column in table.columns:
        _doubt_best(table, column)
        _tell_overlap(table, column)


def _warnings(table: Table, baseline: str | None) -> list[str]:
    warnings = []
    lone = [row.name for row in table.rows if len(row.finished) == 1]
    if lone:
        warnings.append(
            f"ONE SEED ({', '.join(lone)}): the ± covers test examples only. Another seed may "
            "reverse these gaps, so none of them is called separable and no winner is marked "
            f"by them; {_MORE_SEEDS}."
        )
    for row in table.rows:
        if row.attention != "native":
            continue
        for status, seeds in row.excluded.items():
            which = ", ".join(str(seed) for seed in seeds)
            warnings.append(f"left out of the means: {row.name}, seed {which} ({status})")
        for run in row.runs:
            if run.status == "collapsed":
                warnings.append(f"{row.name}, seed {run.data['seed']}: {run.collapse}")
    limited = [column.name for column in table.columns if column.limit is not None]
    if limited:
        warnings.append(f"LIMITED, asked of a part of the examples only: {', '.join(limited)}")
    warnings.extend(_collapses(table))
    if baseline is not None and table.difference_to is None:
        warnings.append(f"no {baseline} among these runs, so no differences to it")
    return warnings


def _collapses(table: Table) -> list[str]:
    """Fine-tuning seeds that learned nothing: their scores are not averaged in silence."""
    variants = {column.variant for column in table.columns}
    return [
        f"{score.data['task']}: {row.name} seed {run.data['seed']}: "
        f"{len(collapsed)} of {len(score.data['details']['seeds'])} fine-tuning seeds collapsed"
        + (" (all: their scores stand)" if is_all else "; the mean is of the others")
        for row in table.rows
        for run in row.finished
        for score in run.scores
        if (collapsed := score.data["details"].get("collapsed_seeds"))
        and score.variant in variants
        and score.data["attention"] == row.attention
        for is_all in [len(collapsed) == len(score.data["details"]["seeds"])]
    ]


def _doubt_best(table: Table, column: Column) -> None:
    """Note what keeps the best objective of a column from being marked, and what it only equals."""
    ranked = table.ranked(column.name)
    trained = [row for row in ranked if row.kind == "trained"]
    if not trained:
        return
    best = trained[0]
    if column.name not in table.best:
        rivals = [row for row in trained if row.runs != best.runs]
        doubted = (r for r in rivals if not table.is_above(best.name, r.name, column.name))
        for rival in itertools.islice(doubted, 1):
            doubt = _doubt(table, column, best.name, rival.name)
            below = "" if table.has_letters else _below(table, column, ranked)
            table.notes.append(f"{column.name}: not separable: {doubt}{below}")
    level = []
    for row in ranked:
        gap = table.difference(best.name, row.name, column.name)
        if row.kind != "trained" and gap is not None and gap.low <= 0:
            level.append(row.name)
    if level:
        table.notes.append(
            f"{column.name}: {best.name}, the best, is not separably above {', '.join(level)}"
        )


def _below(table: Table, column: Column, ranked: list[Row]) -> str:
    """Who can be told from the best where letters are too many to say it."""
    names = [row.name for row in ranked if (row.name, column.name) in table.below]
    return f". Separably below it: {listing(names, 8)}" if names else ". None is separably below it"


def _doubt(table: Table, column: Column, best: str, rival: str) -> str:
    """Why the best may not be better than a rival."""
    gap = table.difference(best, rival, column.name)
    if gap is None:
        return f"{best} and {rival} share no seed"
    unit = table.scale(column)
    leads = f"{best} leads {rival} by {decimal(gap.mean * unit)}"
    if gap.mean < 0:  # seeds that only one of them has turned the order around
        behind = f"{decimal(abs(gap.mean) * unit)} behind {rival}"
        leads = f"{best}, the best mean, is {behind} on their {gap.seeds} common seeds"
    if gap.seeds == 1:
        return f"{leads}; one seed cannot tell"
    smallest = width(gap.minimum_detectable_difference * unit, table.length(column))
    return f"{leads}; the smallest gap this comparison could have seen is {smallest}"


def _letter(table: Table, column: Column) -> None:
    """Letters of the objectives, and the smallest gap among those that compete."""
    scored = [
        (place, cell.interval.mean, row)
        for place, row in enumerate(table.rows)
        if (cell := table.cells[row.name, column.name]).interval is not None
        and row.kind != "baseline"
    ]
    pairs = table.pairs(column.name)
    if len(scored) < 2:
        return
    places = [place for place, _, _ in scored]
    means = np.array([mean for _, mean, _ in scored])
    separable = pairs.part(places, places).significant()
    rivals = [i for i, (_, _, row) in enumerate(scored) if row.kind == "trained"]
    top = max(rivals, key=lambda i: means[i], default=None)
    for i, text in enumerate(letters(separable, means)):
        key = scored[i][2].name, column.name
        table.letters[key] = text
        if top is not None and separable[top, i] and means[i] < means[top]:
            table.below.add(key)
    trained = [place for place, _, row in scored if row.kind == "trained"]
    gap = minimum_detectable_difference(pairs, trained, trained if len(trained) > 1 else places)
    if gap is not None:
        table.detectable[column.name] = gap


def _tell_overlap(table: Table, column: Column) -> None:
    """Note what of the test was seen before, if it is a percent or more, and what that changes."""
    cells = {e.name: table.cells[e.name, column.name] for e in table.rows if e.kind == "trained"}
    unit = table.scale(column)
    for where, what in (("train", "the training examples"), ("corpus", "the corpus")):
        told = {name: cell.overlap[where] for name, cell in cells.items() if where in cell.overlap}
        share = max((one["share"] or 0.0 for one in told.values()), default=0.0)
        if share < _OVERLAP_SHARE:
            continue
        rest = _on_the_rest(unit, cells, where)
        table.notes.append(
            f"{column.name}: {share:.1%} of the test examples overlap with {what}{rest}"
        )


def _on_the_rest(unit: float, cells: dict[str, Cell], where: str) -> str:
    """Scores on what was not seen before; of many, the one that differs most."""
    known = [
        (name, cell.interval.mean * unit, value * unit)
        for name, cell in cells.items()
        if cell.interval is not None
        and (value := cell.overlap.get(where, {}).get("clean_value")) is not None
    ]
    if not known:
        return ""
    if len(known) <= _MOST_CLEAN:
        told = (f"{name} {decimal(clean)}" for name, _, clean in known)
        return f"; on the others: {', '.join(told)}"
    name, score, clean = max(known, key=lambda one: abs(one[2] - one[1]))
    if decimal(clean) == decimal(score):
        return "; on the others no score differs"
    before, after = decimal(score), decimal(clean)
    return f"; on the others no score differs by more than {name}: {after}, not {before}"
