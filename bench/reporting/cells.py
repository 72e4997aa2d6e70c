"""What an row got in a column: records read into samples, with their intervals.

A cell pairs examples only where the mean of the outcomes on disk is the score itself; else the
scores are compared as values, which is wider and always right.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.statistics.intervals import Interval, Sample, means

if TYPE_CHECKING:
    from bench.records.store import ScoreRecord
    from bench.reporting.table import Column


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """What an row got in a column."""

    status: str
    """`ok`, `not_applicable`, `missing`, or why no run counts (`diverged`)."""
    sample: Sample | None = None
    interval: Interval | None = None
    selectivity: float | None = None
    examples: int = 0
    overlap: dict[str, dict[str, float | None]] = dataclasses.field(default_factory=dict)
    """What of the test was seen before, by where (`train`, `corpus`): the share of the examples,
    and the value on the others."""


def read_cells(
    answers: Sequence[Mapping[Any, ScoreRecord]], column: Column, absent: Sequence[str]
) -> list[Cell]:
    """The cells of a column.

    Args:
        answers: Of each row, its scores by seed (None: a control's).
        column: What they answer.
        absent: The status of each row if it has no score.
    """
    samples = [_sample(scores, column.metric_key) for scores in answers]
    intervals = iter(means([sample for sample in samples if sample is not None]))
    cells = []
    for sample, scores, status in zip(samples, answers, absent, strict=True):
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
                selectivity=sum(numbers) / len(numbers) if numbers else None,
                examples=max(one["examples"] for one in data),
                overlap=_overlap(data, column.metric_key),
            )
        )
    return cells


def _sample(scores: Mapping[Any, ScoreRecord], metric_key: str | None) -> Sample | None:
    seeds = sorted(seed for seed, score in scores.items() if _has(score, metric_key))
    if not seeds:
        return None
    read = [scores[seed].data for seed in seeds]
    pairs = [one["metrics"].get(metric_key, (one["value"], one["stderr"])) for one in read]
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


def _overlap(
    scores: list[dict[str, Any]], metric_key: str | None
) -> dict[str, dict[str, float | None]]:
    """Means over seeds of what the scores tell; it is told of the first reading only."""
    found: dict[str, dict[str, float | None]] = {}
    for where, key in (("train", "leak"), ("corpus", "corpus_overlap")):
        told = [one["details"].get(key) for one in scores]
        is_told = all(isinstance(one, dict) for one in told)
        if is_told and all(next(iter(one["metrics"]), metric_key) == metric_key for one in scores):
            shares, values = ([one.get(name) for one in told] for name in ("share", "clean_value"))
            found[where] = {"share": _mean(shares), "clean_value": _mean(values)}
    return found


def _mean(values: list[float | None]) -> float | None:
    """None where one of them is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _has(score: ScoreRecord, metric_key: str | None) -> bool:
    """Whether it has a value for a reading; one without metrics has it for any."""
    data = score.data
    return data["status"] == "ok" and (not data["metrics"] or metric_key in data["metrics"])


def _outcomes(score: ScoreRecord, metric_key: str | None) -> tuple[str, np.ndarray] | None:
    """(fingerprint of the examples, outcomes) of a reading; a headline's may go unnamed."""
    found = score.per_example()
    if found is None:
        return None
    headline = next(iter(score.data["metrics"]), None)
    for name in [metric_key, *(["outcome"] if headline in (None, metric_key) else [])]:
        if name in found.by_name:
            return found.examples, found.by_name[name]
    return None


def _aligned(
    found: list[tuple[str, np.ndarray] | None],
) -> tuple[str | None, np.ndarray | None]:
    """The outcomes of all seeds, a row each, if they are about the same examples."""
    known = [pair for pair in found if pair is not None]
    if len(known) < len(found) or len({examples for examples, _ in known}) != 1:
        return None, None
    return known[0][0], np.stack([outcomes for _, outcomes in known])
