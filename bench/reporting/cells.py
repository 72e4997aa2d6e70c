"""Cells of a table: the scores of a row in a column, with their interval.

Examples are paired only if the mean of the outcomes on disk is the score itself. Otherwise the
scores are compared as values, which gives a wider interval that is always valid.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.records.scores import ScoreRecord
from bench.reporting.columns import MARGIN, Column
from bench.statistics.intervals import Interval, Sample, Spread, spreads
from bench.statistics.moderation import SeedVariance, moderate


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Test examples that overlap with other text, means over seeds."""

    share: float | None
    """Share of the test examples that overlap."""
    clean_value: float | None
    """The score on the other test examples."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """The score of a row in a column."""

    status: str
    """`ok`, `not_applicable`, `missing`, or why no run counts (`diverged`)."""
    sample: Sample | None = None
    spread: Spread | None = None
    interval: Interval | None = None
    """With the moderated variance between seeds, cut to the range of the metric."""
    selectivity: float | None = None
    examples: int = 0
    overlap: dict[str, Overlap] = dataclasses.field(default_factory=dict)
    """Overlap with the training examples (`train`) and with the corpus (`corpus`), if known."""


def read_cells(
    scores_by_row: Sequence[Mapping[Any, ScoreRecord]], column: Column, absent: Sequence[str]
) -> list[Cell]:
    """The cells of a column.

    Args:
        scores_by_row: The scores of each row by seed (None: the score of a baseline).
        column: The column.
        absent: The status of each row if it has no score.
    """
    samples = [_sample(scores, column.metric_key) for scores in scores_by_row]
    known = iter(spreads([sample for sample in samples if sample is not None]))
    cells = []
    for sample, scores, status in zip(samples, scores_by_row, absent, strict=True):
        if sample is None:
            refused = any(score.data["status"] == "not_applicable" for score in scores.values())
            cells.append(Cell("not_applicable" if refused else status))
            continue
        data = [scores[seed].data for seed in sample.seeds or (None,)]
        details = [one["details"].get("selectivity") for one in data]
        numbers = [x for x in details if isinstance(x, int | float) and math.isfinite(x)]
        cells.append(
            Cell(
                status="ok",
                sample=sample,
                spread=next(known),
                selectivity=sum(numbers) / len(numbers) if numbers and column.is_headline else None,
                examples=max(one["examples"] for one in data),
                overlap=_overlap(data, column.metric_key),
            )
        )
    return cells


def _sample(scores: Mapping[Any, ScoreRecord], metric_key: str | None) -> Sample | None:
    seeds = sorted(seed for seed, score in scores.items() if _has(score, metric_key))
    if not seeds:
        return None
    data = [scores[seed].data for seed in seeds]
    pairs = [one["metrics"].get(metric_key, (one["value"], one["stderr"])) for one in data]
    values, stderrs = np.array(pairs, dtype=float).T
    examples, outcomes = _aligned([_outcomes(scores[seed], metric_key) for seed in seeds])
    is_mean = outcomes is not None and bool((abs(outcomes.mean(axis=1) - values) < 1e-6).all())
    return Sample(
        seeds=() if None in seeds else tuple(seeds),
        values=values,
        stderrs=stderrs,
        examples=examples if is_mean else None,
        outcomes=outcomes if is_mean else None,
    )


def _overlap(scores: list[dict[str, Any]], metric_key: str | None) -> dict[str, Overlap]:
    """Means over seeds of the recorded overlap; it is recorded for the first metric only."""
    overlaps: dict[str, Overlap] = {}
    for source, key in (("train", "leak"), ("corpus", "corpus_overlap")):
        if source == "corpus" and any(score["run"] is None for score in scores):
            continue  # a baseline has read no corpus
        details = [score["details"].get(key) for score in scores]
        is_known = all(isinstance(one, dict) for one in details)
        if is_known and all(next(iter(s["metrics"]), metric_key) == metric_key for s in scores):
            shares, values = (
                [one.get(name) for one in details] for name in ("share", "clean_value")
            )
            overlaps[source] = Overlap(_mean(shares), _mean(values))
    return overlaps


def _mean(values: list[float | None]) -> float | None:
    """None if one of the values is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _has(score: ScoreRecord, metric_key: str | None) -> bool:
    """Whether a score has a value for a metric; a score without metrics has one value."""
    data = score.data
    return data["status"] == "ok" and (
        metric_key in data["metrics"] or (not data["metrics"] and metric_key != MARGIN)
    )


def _outcomes(score: ScoreRecord, metric_key: str | None) -> tuple[str, np.ndarray] | None:
    """(fingerprint of the examples, outcomes) of a metric.

    The outcomes of the first metric may be named `outcome`.
    """
    outcomes = score.per_example()
    if outcomes is None:
        return None
    headline = next(iter(score.data["metrics"]), None)
    for name in [metric_key, *(["outcome"] if headline in (None, metric_key) else [])]:
        if name in outcomes.by_name:
            return outcomes.examples, outcomes.by_name[name]
    return None


def _aligned(
    outcomes: list[tuple[str, np.ndarray] | None],
) -> tuple[str | None, np.ndarray | None]:
    """The outcomes of all seeds, one row per seed, if they are on the same examples."""
    known = [pair for pair in outcomes if pair is not None]
    if len(known) < len(outcomes) or len({examples for examples, _ in known}) != 1:
        return None, None
    return known[0][0], np.stack([values for _, values in known])


RANGES = {
    **dict.fromkeys(("accuracy", "accuracy_5", "exact_match", "f1", "span_f1"), (0.0, 1.0)),
    **dict.fromkeys(("micro_f1", "macro_f1", "lrap"), (0.0, 1.0)),
    "r2": (-math.inf, 1.0),
    **dict.fromkeys(("ndcg@10", "recall@100", "mrr@10", "v_measure"), (0.0, 1.0)),
    "reciprocal_rank": (0.0, 1.0),
    **dict.fromkeys(("stereotype_share", "lms", "icat"), (0.0, 1.0)),
    "distance_from_half": (0.0, 0.5),
    **dict.fromkeys(("matthews", "spearman"), (-1.0, 1.0)),
}
"""The lowest and the highest value of each metric; no interval leaves them."""


def moderated(cells: Sequence[Sequence[Cell]], is_trained: Sequence[bool]) -> list[SeedVariance]:
    """The variances between seeds of each column, moderated over all columns and objectives.

    Args:
        cells: The cells of each column, in the order of the rows.
        is_trained: The rows that the typical variances are estimated from.
    """
    variances, freedoms = [], []
    for column in cells:
        seeds = [0 if cell.sample is None else len(cell.sample.seeds) for cell in column]
        known = zip(column, seeds, strict=True)
        variances.append(
            np.array([c.spread.seed * n if c.spread and n > 1 else math.nan for c, n in known])
        )
        is_alone = np.array([c.sample is not None and not c.sample.seeds for c in column])
        freedoms.append(np.where(is_alone, math.inf, np.maximum(np.array(seeds) - 1.0, 0.0)))
    return moderate(variances, freedoms, [np.asarray(is_trained)] * len(cells))


def with_interval(cell: Cell, row: int, variance: SeedVariance | None, metric: str) -> Cell:
    """The cell with its interval.

    Args:
        cell: A cell of a column.
        row: Its place in the column.
        variance: The moderated variances of the column; None: the cell's own variance.
        metric: The metric, whose range the interval does not leave.
    """
    if cell.spread is None:
        return cell
    seed = freedom = None
    if variance is not None and cell.spread.seeds > 1:
        seed = float(variance.variance[row]) / cell.spread.seeds
        freedom = float(variance.freedom[row])
    interval = cell.spread.interval(seed, freedom)
    if metric in RANGES:
        interval = interval.within(*RANGES[metric])
    return dataclasses.replace(cell, interval=interval)
