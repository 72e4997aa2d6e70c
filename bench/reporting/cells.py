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
from bench.reporting.columns import Column
from bench.statistics.intervals import Interval, Sample, means


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
    interval: Interval | None = None
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
    intervals = iter(means([sample for sample in samples if sample is not None]))
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
                interval=next(intervals),
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
    return data["status"] == "ok" and (not data["metrics"] or metric_key in data["metrics"])


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
