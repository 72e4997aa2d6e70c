"""What answers are worth: accuracy and span F1 as one kind of number, with its sampling error.

Both are ratios of sums over examples (correct / asked; 2 x matched / (predicted + wanted)). Each
example gets the outcome `ratio + (numerator - ratio x denominator) / mean denominator`: the mean
of these is the ratio itself and their spread is its error by the delta method, so a sentence's
words need not be independent and every paired test works on F1 as it does on accuracy. With one
label an example the outcome is simply 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.probing.task import Score

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Counts = tuple["Float[np.ndarray, ' N']", "Float[np.ndarray, ' N']"]
"""Numerator and denominator of each example."""


def ratio_score(counts: Counts, leaked: Bool[np.ndarray, " N"], details: dict[str, Any]) -> Score:
    """The score of examples with these counts.

    Args:
        counts: Numerator and denominator of each test example.
        leaked: Test examples that stand in the training split word for word.
        details: What else to tell.
    """
    numerator, denominator = counts
    value = ratio(numerator, denominator)
    outcomes = outcome_of(numerator, denominator)
    clean = ~leaked
    clean_value = ratio(numerator[clean], denominator[clean]) if clean.any() else None
    return Score(
        value=value,
        stderr=standard_error(outcomes),
        outcomes=pd.DataFrame(
            {
                "example": np.arange(len(outcomes)),
                "outcome": outcomes,
                "numerator": numerator,
                "denominator": denominator,
            }
        ),
        details=details | {"leak": {"share": float(leaked.mean()), "clean_value": clean_value}},
    )


def ratio(numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"]) -> float:
    """Sum over sum; 0 where nothing was asked or found."""
    total = denominator.sum()
    return float(numerator.sum() / total) if total else 0.0


def outcome_of(
    numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Each example's part in the ratio; their mean is the ratio."""
    if (denominator == 1).all():
        return numerator.astype(float)
    value = ratio(numerator, denominator)
    parts: Float[np.ndarray, " N"] = value + (numerator - value * denominator) / max(
        denominator.mean(), 1e-12
    )
    return parts


def standard_error(outcomes: Float[np.ndarray, " N"]) -> float:
    """Of the mean of independent outcomes."""
    if len(outcomes) < 2:
        return 0.0
    return float(outcomes.std(ddof=1) / len(outcomes) ** 0.5)


def bio_spans(labels: Sequence[str | None]) -> set[tuple[str, int, int]]:
    """The (type, first, beyond last) spans of one sentence's B-/I-/O labels.

    Read as CoNLL's scorer does: an I- after another type or after nothing opens a span.
    """
    spans = set()
    kind, start = "", 0
    for at, label in enumerate([*labels, "O"]):
        prefix, _, of = (label or "O").partition("-")
        if kind and (prefix != "I" or of != kind):
            spans.add((kind, start, at))
            kind = ""
        if prefix in ("B", "I") and not kind:
            kind, start = of, at
    return spans


def span_counts(
    wanted: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str | None]]
) -> Counts:
    """Per sentence 2 x spans matched exactly, and spans wanted + predicted: F1 is their ratio."""
    pairs = [(bio_spans(a), bio_spans(b)) for a, b in zip(wanted, predicted, strict=True)]
    return (
        np.array([2.0 * len(gold & found) for gold, found in pairs]),
        np.array([float(len(gold) + len(found)) for gold, found in pairs]),
    )


def label_counts(
    wanted: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str | None]]
) -> Counts:
    """Per sentence labels right, and labels asked (those that are not None)."""
    asked = [[w is not None for w in row] for row in wanted]
    right = [
        sum(ask and w == p for ask, w, p in zip(a, ws, ps, strict=True))
        for a, ws, ps in zip(asked, wanted, predicted, strict=True)
    ]
    return np.array(right, dtype=float), np.array([sum(a) for a in asked], dtype=float)
