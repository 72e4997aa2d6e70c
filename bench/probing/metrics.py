"""What answers are worth: every metric as a mean over examples, with its sampling error.

Accuracy and F1 are ratios of sums over examples (correct / asked; 2 x matched / (predicted +
wanted)); Matthews' and Spearman's coefficients are smooth functions of such means. Each
example gets the outcome `ratio + (numerator - ratio x denominator) / mean denominator`: the mean
of these is the ratio itself and their spread is its error by the delta method, so a sentence's
words need not be independent and every paired test works on F1 as it does on accuracy. With one
label an example the outcome is simply 0 or 1. The coefficients' outcomes are their influence
functions, made the same way; the errors agree with a bootstrap's within a tenth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.probing.task import Score

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

Counts = tuple["Float[np.ndarray, ' N']", "Float[np.ndarray, ' N']"]
"""Numerator and denominator of each example."""


def label_score(
    metric: str,
    wanted: Sequence[str],
    predicted: Sequence[str],
    leaked: Bool[np.ndarray, " N"],
    details: dict[str, Any],
) -> Score:
    """The score of one label an example, by `accuracy`, `f1` of the label "1", or `matthews`."""
    answers, truth = np.asarray(predicted, dtype=str), np.asarray(wanted, dtype=str)
    right = (answers == truth).astype(float)
    alike = ratio_score((right, np.ones(len(right))), leaked, details)
    if metric == "accuracy":
        return alike
    if metric == "matthews":
        clean = (
            float(matthews(truth[~leaked], answers[~leaked]).mean()) if not leaked.all() else None
        )
        told = details | {"accuracy_of_test": alike.value, "leak": _leak(leaked, clean)}
        return outcome_score(matthews(truth, answers), told)
    score = ratio_score(f1_counts(truth, answers), leaked, details)
    return dataclasses.replace(
        score,
        outcomes=score.outcomes.assign(accuracy=right),
        metrics={"f1": (score.value, score.stderr), "accuracy": (alike.value, alike.stderr)},
    )


def rank_score(
    wanted: Float[np.ndarray, " N"],
    predicted: Float[np.ndarray, " N"],
    leaked: Bool[np.ndarray, " N"],
    details: dict[str, Any],
) -> Score:
    """Spearman's correlation of one number an example."""
    kept = ~leaked
    clean = float(ranks_correlated(wanted[kept], predicted[kept]).mean()) if kept.any() else None
    told = details | {"leak": _leak(leaked, clean)}
    return outcome_score(ranks_correlated(wanted, predicted), told)


def outcome_score(
    outcomes: Float[np.ndarray, " N"],
    details: dict[str, Any],
    examples: Int[np.ndarray, " N"] | None = None,
) -> Score:
    """The score that is the mean of these outcomes; `examples` names them where not 0, 1, 2, ..."""
    names = np.arange(len(outcomes)) if examples is None else examples
    return Score(
        value=float(outcomes.mean()),
        stderr=standard_error(outcomes),
        outcomes=pd.DataFrame({"example": names, "outcome": outcomes}),
        details=details,
    )


def ratio_score(counts: Counts, leaked: Bool[np.ndarray, " N"], details: dict[str, Any]) -> Score:
    """The score of examples with these counts.

    Args:
        counts: Numerator and denominator of each test example.
        leaked: Test examples that stand in the training split word for word.
        details: What else to tell.
    """
    numerator, denominator = counts
    outcomes = outcome_of(numerator, denominator)
    clean = ~leaked
    clean_value = ratio(numerator[clean], denominator[clean]) if clean.any() else None
    score = outcome_score(outcomes, details | {"leak": _leak(leaked, clean_value)})
    return dataclasses.replace(
        score,
        value=ratio(numerator, denominator),
        outcomes=score.outcomes.assign(numerator=numerator, denominator=denominator),
    )


def _leak(leaked: Bool[np.ndarray, " N"], clean_value: float | None) -> dict[str, Any]:
    return {"share": float(leaked.mean()), "clean_value": clean_value}


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


def f1_counts(wanted: np.ndarray, predicted: np.ndarray, of: str = "1") -> Counts:
    """Per example 2 x found rightly, and wanted + found: binary F1 of one label is their ratio."""
    is_wanted, is_found = wanted == of, predicted == of
    return 2.0 * (is_wanted & is_found), is_wanted.astype(float) + is_found


def matthews(wanted: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " N"]:
    """Outcomes whose mean is Matthews' correlation, R_K beyond two classes (Gorodkin 2004).

    With t and p the shares of a class in truth and answer and c the share of right answers it is
    (c - sum t p) / sqrt((1 - sum p^2) (1 - sum t^2)), differentiated in the examples' weights; 0
    where truth or answers are constant.
    """
    classes, numbers = np.unique(np.concatenate((wanted, predicted)), return_inverse=True)
    true, found = numbers[: len(wanted)], numbers[len(wanted) :]
    t, p = (np.bincount(x, minlength=len(classes)) / len(wanted) for x in (true, found))
    agreement = (true == found).astype(float) - p[true] - t[found]
    spread_found, spread_true = 1 - (p**2).sum(), 1 - (t**2).sum()
    value_of = (true == found).mean() - (t * p).sum()
    return _coefficient(
        (value_of, agreement - agreement.mean()),
        (spread_found, -2 * (p[found] - (p**2).sum())),
        (spread_true, -2 * (t[true] - (t**2).sum())),
    )


def ranks_correlated(x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, " N"]:
    """Outcomes whose mean is Spearman's correlation, ties at their middle rank.

    An example counts three times: with its own ranks, and in the ranks of all above and below it.
    """
    a, b = _signed_ranks(x, x, 1), _signed_ranks(y, y, 1)
    agreement, spread_x, spread_y = (a * b).mean(), (a**2).mean(), (b**2).mean()
    moved = a * b - _signed_ranks(x, x, b) - _signed_ranks(y, y, a) - 3 * agreement
    return _coefficient(
        (agreement, moved),
        (spread_x, a**2 - 2 * _signed_ranks(x, x, a) - 3 * spread_x),
        (spread_y, b**2 - 2 * _signed_ranks(y, y, b) - 3 * spread_y),
    )


def _signed_ranks(
    x: np.ndarray, others: np.ndarray, weights: np.ndarray | int
) -> Float[np.ndarray, " N"]:
    """Weight of the others below each x minus that above it, over their number."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    total = np.append(0.0, np.broadcast_to(weights, others.shape)[order].cumsum())
    below = total[np.searchsorted(ordered, x, side="left")]
    above = total[-1] - total[np.searchsorted(ordered, x, side="right")]
    signed: Float[np.ndarray, " N"] = (below - above) / len(others)
    return signed


def _coefficient(
    *parts: tuple[float, Float[np.ndarray, " N"]],
) -> Float[np.ndarray, " N"]:
    """Outcomes of n / sqrt(a b) from each part's value and every example's pull on it."""
    (n, pull_n), (a, pull_a), (b, pull_b) = parts
    if min(a, b) < 1e-12:
        return np.zeros(len(pull_n))
    root = (a * b) ** 0.5
    return np.asarray((n + pull_n - n / 2 * (pull_a / a + pull_b / b)) / root)
