"""Annotations of a table: letters, warnings, and notes on conclusions that are not supported.

The best objective of a column is marked if its paired difference to every other objective excludes
zero. All of these differences must be significant at once, so none of them needs a correction.
Letters are per pair, like `*`: with K equal objectives some pair is significantly different more
often than one given pair (aggregates of 4 equal objectives, 2 to 5 seeds, 500 simulations each:
some pair of the 6 in 14 to 27 %, one given pair in 3 to 6 %), so the legend states the number of
pairs. Claims over several tasks are corrected (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.records.store import NOT_LEARNED, RunRecord
from bench.reporting.cells import Cell
from bench.reporting.columns import Column
from bench.reporting.conclusions.learning import learning_warnings
from bench.reporting.conclusions.rates import rate_warnings
from bench.reporting.conclusions.tuned import edge_warnings
from bench.reporting.formatting import decimal, listing, width
from bench.reporting.table import Row, Table
from bench.statistics.pairwise import (
    letters,
    minimum_detectable_difference,
    signal_to_noise,
)

_MORE_SEEDS = "repeat with --seeds 0-2 or more"
_OVERLAP_SHARE = 0.01
"""An overlap of less than this share of the test examples gets no note."""
_CUT_SHARE = 0.005
"""A smaller share of cut texts gets no warning."""
_MAX_CLEAN_SCORES = 4
"""Scores on the other examples that one note lists."""


def annotate(table: Table, baseline: str | None) -> None:
    """Add letters, minimum detectable differences, warnings and notes to a table.

    Args:
        table: The table.
        baseline: The row that differences were requested to; a table may lack it.
    """
    table.warnings.extend(_warnings(table, baseline))
    for column in table.columns:
        _add_letters(table, column)
    _note_signal(table)
    _note_diagnostics(table)
    for column in table.columns:
        if not column.is_diagnostic:
            _note_best(table, column)
        _note_overlap(table, column)


def _warnings(table: Table, baseline: str | None) -> list[str]:
    warnings = [*learning_warnings(table), *edge_warnings(table), *rate_warnings(table)]
    single = [r.name for r in table.rows if len(r.finished) == 1 and not r.is_untouched]
    if single:
        warnings.append(
            f"ONE SEED ({', '.join(single)}): the ± covers test examples only. Another seed may "
            "reverse these differences, so none of them is called significant and none of them "
            f"marks a best objective; {_MORE_SEEDS}."
        )
    pairs = [row.name for row in table.rows if len(row.finished) == 2 and row.is_ranked]
    if pairs:
        warnings.append(
            f"TWO SEEDS ({listing(pairs, 8)}): the spread between seeds is known mostly from other "
            f"objectives and tasks; {_MORE_SEEDS} before you publish."
        )
    for row in table.rows:
        if row.attention != "native":
            continue
        for status, seeds in row.excluded.items():
            if status == NOT_LEARNED:
                continue
            numbers = ", ".join(str(seed) for seed in seeds)
            warnings.append(f"left out of the means: {row.name}, seed {numbers} ({status})")
    limited = [column.name for column in table.columns if column.limit is not None]
    if limited:
        warnings.append(f"LIMITED: scored on a part of the examples only: {', '.join(limited)}")
    warnings.extend(_collapsed_finetuning(table))
    warnings.extend(_limits_of_finetuning(table))
    warnings.extend(_truncated(table))
    if baseline is not None and table.difference_to is None:
        warnings.append(f"no {baseline} among these runs, so no differences to it are shown")
    return warnings


def _collapsed_finetuning(table: Table) -> list[str]:
    """Fine-tuning seeds that learned nothing, which change the meaning of the mean."""
    variants = {column.variant for column in table.columns}
    return [
        f"{score.data['task']}, {row.name}, seed {run.data['seed']}: "
        f"{len(collapsed)} of {len(score.data['details']['seeds'])} fine-tuning seeds collapsed; "
        f"the mean is over {'all of them' if is_all else 'the others'}"
        for row in table.rows
        for run in row.finished
        for score in run.scores
        if (collapsed := score.data["details"].get("collapsed_seeds"))
        and score.variant in variants
        and score.data["attention"] == row.attention
        for is_all in [len(collapsed) == len(score.data["details"]["seeds"])]
    ]


def _scores_of(table: Table) -> Iterator[tuple[Column, Row, RunRecord, Mapping[str, Any]]]:
    """(headline column, row, run, details) of every score in the table."""
    columns = {column.variant: column for column in table.columns if column.is_headline}
    for row in table.rows:
        for run in row.finished:
            for score in run.scores:
                column = columns.get(score.variant)
                if column is not None and score.data["attention"] == row.attention:
                    yield column, row, run, score.data["details"]


def _limits_of_finetuning(table: Table) -> list[str]:
    """Where a training was best at the highest or lowest learning rate, or at the last epoch."""
    edges: dict[str, list[str]] = {}
    of_stage: dict[str, list[str]] = {}
    last: dict[str, list[str]] = {}
    for column, row, _, details in _scores_of(table):
        for key, rows in (("is_edge", edges), ("is_at_last_epoch", last)):
            if details.get(key) is True:
                rows.setdefault(column.name, []).append(row.name)
        if (details.get("contrastive") or {}).get("is_edge") is True:
            of_stage.setdefault(column.name, []).append(row.name)
    edge = "highest or lowest learning rate"
    return [
        f"{column}: {training} was best at the {place} for "
        f"{listing(list(dict.fromkeys(names)))}; {way_out}"
        for rows, training, place, way_out in (
            (edges, "fine-tuning", edge, "widen --set finetune.learning_rates="),
            (last, "fine-tuning", "last epoch", "raise --set finetune.max_epochs="),
            (of_stage, "the contrastive stage", edge, "widen --set contrastive.learning_rates="),
        )
        for column, names in rows.items()
    ]


def _truncated(table: Table) -> list[str]:
    """Columns whose texts are longer than what was read of them."""
    shares: dict[str, float] = {}
    for column, _, _, details in _scores_of(table):
        if details.get("texts"):
            share = details.get("truncated_texts", 0) / details["texts"]
            shares[column.name] = max(share, shares.get(column.name, 0.0))
    return [
        f"{column}: {share:.1%} of the texts are longer than what was read of them, and were cut "
        "(baselines without an encoder read all); raise --set encoder.max_length="
        for column, share in shares.items()
        if share >= _CUT_SHARE
    ]


def _note_diagnostics(table: Table) -> None:
    """Say what each diagnostic means, as its scores do."""
    for variant in dict.fromkeys(one.variant for one in table.columns if one.is_diagnostic):
        scores = (score for row in table.rows for score in row.scores.get(variant, {}).values())
        meanings = (score.data["details"].get("meaning") for score in scores)
        meaning = next((one for one in meanings if one), "neither end of its scale is better")
        table.notes.append(f"{variant[0]} is a diagnostic, which ranks nobody: {meaning}")


def _note_signal(table: Table) -> None:
    """Name the columns in which objectives differ no more than the seeds of one of them."""
    shown = {column.name for column in table.columns if not column.is_diagnostic}
    names = [name for name, signal in table.signal.items() if signal < 1.0 and name in shown]
    if names:
        table.notes.append(
            f"signal/noise below 1 ({listing(names, 8)}): objectives differ less than the seeds of "
            "one objective, so these columns rank nobody"
        )


def _note_best(table: Table, column: Column) -> None:
    """Note why no best objective is marked, and which baselines the best is not above."""
    ranked = table.ranked(column.name)
    trained = [row for row in ranked if row.is_ranked]
    if not trained:
        return
    best = trained[0]
    if column.name not in table.best:
        rivals = [row for row in trained if row.runs != best.runs]
        equal = (r for r in rivals if not table.is_above(best.name, r.name, column.name))
        rival = next(equal, None)
        if rival is not None:
            text = _not_distinguishable(table, column, best.name, rival.name)
            below = "" if table.has_letters else _below(table, column, best.name, ranked)
            table.notes.append(f"{column.name}: {text}{below}")
    not_below = []
    for row in ranked:
        difference = table.difference(best.name, row.name, column.name)
        if row.is_floor and (difference is None or difference.low <= 0):
            not_below.append(row.name)
    if not_below:
        table.notes.append(
            f"{column.name}: the best objective, {best.name}, is not significantly above "
            f"{', '.join(not_below)}"
        )


def _below(table: Table, column: Column, best: str, ranked: list[Row]) -> str:
    """The objectives significantly below the best, where letters are too many to show it."""
    names = [row.name for row in ranked if (row.name, column.name) in table.below]
    if not names:
        return f". No objective is significantly below {best}"
    return f". Significantly below {best}: {listing(names, 8)}"


def _not_distinguishable(table: Table, column: Column, best: str, rival: str) -> str:
    """Why the best may not be better than a rival."""
    difference = table.difference(best, rival, column.name)
    if difference is None:
        return f"{best} and {rival} are not distinguishable: they have no common seed"
    unit = table.scale(column)
    amount = decimal(abs(difference.mean) * unit)
    text = f"{best} and {rival} are not distinguishable: {best} is {amount} higher"
    if difference.mean < 0:  # seeds that only one of them has reverse the order of the means
        text = (
            f"{best} and {rival} are not distinguishable: {best} has the higher mean, but is "
            f"{amount} lower on their {difference.seeds} common seeds"
        )
    if difference.seeds == 1:
        return f"{text}; a difference from one seed is never significant"
    smallest = width(difference.minimum_detectable_difference * unit, table.length(column))
    return f"{text}; the minimum detectable difference is {smallest}"


def _add_letters(table: Table, column: Column) -> None:
    """Letters of the objectives, and the minimum detectable difference between trained ones."""
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
    is_different = pairs.part(places, places).significant()
    rivals = [i for i, (_, _, row) in enumerate(scored) if row.is_ranked]
    top = max(rivals, key=lambda i: means[i], default=None)
    for i, text in enumerate(letters(is_different, means)):
        key = scored[i][2].name, column.name
        table.letters[key] = text
        is_below = top is not None and is_different[top, i] and means[i] < means[top]
        if is_below and not column.is_diagnostic:
            table.below.add(key)
    trained = [place for place, _, row in scored if row.is_ranked]
    others = trained if len(trained) > 1 else places
    smallest = minimum_detectable_difference(pairs, trained, others)
    if smallest is not None:
        table.detectable[column.name] = smallest
    ranked = [row for _, _, row in scored if row.is_ranked]
    spreads = [table.cells[row.name, column.name].spread for row in ranked]
    several = [spread for spread in spreads if spread is not None and spread.seeds > 1]
    signal = signal_to_noise(
        np.array([spread.mean for spread in several]),
        np.array([spread.seed * spread.seeds for spread in several]),
    )
    if signal is not None:
        table.signal[column.name] = signal


def _note_overlap(table: Table, column: Column) -> None:
    """Note an overlap of the test examples with other text, and the scores without it."""
    cells = {r.name: table.cells[r.name, column.name] for r in table.rows if r.kind == "trained"}
    unit = table.scale(column)
    for source, text in (("train", "the training examples"), ("corpus", "the corpus")):
        overlaps = [cell.overlap[source] for cell in cells.values() if source in cell.overlap]
        share = max((overlap.share or 0.0 for overlap in overlaps), default=0.0)
        if share < _OVERLAP_SHARE:
            continue
        table.notes.append(
            f"{column.name}: {share:.1%} of the test examples overlap with {text}"
            f"{_clean_scores(unit, cells, source)}"
        )


def _clean_scores(unit: float, cells: Mapping[str, Cell], source: str) -> str:
    """The scores on the other examples; of many scores, the one that changes most."""
    known = [
        (name, cell.interval.mean * unit, overlap.clean_value * unit)
        for name, cell in cells.items()
        if cell.interval is not None
        and (overlap := cell.overlap.get(source)) is not None
        and overlap.clean_value is not None
    ]
    if not known:
        return ""
    if len(known) <= _MAX_CLEAN_SCORES:
        scores = (f"{name} {decimal(clean)}" for name, _, clean in known)
        return f"; scores on the other examples: {', '.join(scores)}"
    name, score, clean = max(known, key=lambda one: abs(one[2] - one[1]))
    if decimal(clean) == decimal(score):
        return "; no score changes on the other examples"
    before, after = decimal(score), decimal(clean)
    return f"; on the other examples the score of {name} changes most: {after} instead of {before}"
