"""The metrics: each as a mean over examples, with its sampling error.

Accuracy and F1 are ratios of sums over examples (correct / labelled; 2 x matched / (predicted +
true)); Matthews' and Spearman's coefficients are smooth functions of such means. Each example gets
the outcome `ratio + (numerator - ratio x denominator) / mean denominator`: the mean of the outcomes
is the ratio itself, and their spread is its error by the delta method. So a sentence's words need
not be independent, and every paired test works on F1 as it does on accuracy. With one label per
example the outcome is simply 0 or 1. The coefficients' outcomes are their influence functions, by
the same method; the errors agree with a bootstrap's within a tenth.
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


MARGIN = "margin"
"""The metric of log-likelihood margins in nats: finer than accuracy, which counts signs alone."""
MOST_NATS = 20.0
"""Margins are cut here, so that a few examples do not decide the mean."""


def label_score(
    metric: str,
    labels: Sequence[str],
    predicted: Sequence[str],
    is_leaked: Bool[np.ndarray, " N"],
    details: dict[str, Any],
) -> Score:
    """The score of one label per example, by `accuracy`, `f1` of the label "1", or `matthews`."""
    answers, truth = np.asarray(predicted, dtype=str), np.asarray(labels, dtype=str)
    is_right = (answers == truth).astype(float)
    accuracy = ratio_score((is_right, np.ones(len(is_right))), is_leaked, details)
    if metric == "accuracy":
        return accuracy
    if metric == "matthews":
        clean_value = None
        if not is_leaked.all():
            clean_value = float(matthews(truth[~is_leaked], answers[~is_leaked]).mean())
        leak = _leak(is_leaked, clean_value)
        more = {"accuracy_of_test": accuracy.value, "leak": leak}
        return outcome_score(matthews(truth, answers), details | more)
    score = ratio_score(f1_counts(truth, answers), is_leaked, details)
    return dataclasses.replace(
        score,
        outcomes=score.outcomes.assign(accuracy=is_right),
        metrics={
            "f1": (score.value, score.stderr),
            "accuracy": (accuracy.value, accuracy.stderr),
        },
    )


def rank_score(
    targets: Float[np.ndarray, " N"],
    predicted: Float[np.ndarray, " N"],
    is_leaked: Bool[np.ndarray, " N"],
    details: dict[str, Any],
) -> Score:
    """Spearman's correlation of one number per example."""
    clean = ~is_leaked
    clean_value = None
    if clean.any():
        clean_value = float(rank_correlation(targets[clean], predicted[clean]).mean())
    leak = {"leak": _leak(is_leaked, clean_value)}
    return outcome_score(rank_correlation(targets, predicted), details | leak)


def outcome_score(
    outcomes: Float[np.ndarray, " N"],
    details: dict[str, Any],
    examples: Int[np.ndarray, " N"] | None = None,
) -> Score:
    """The mean of these outcomes as a score; `examples` names them where not 0, 1, 2, ..."""
    names = np.arange(len(outcomes)) if examples is None else examples
    return Score(
        value=float(outcomes.mean()),
        stderr=standard_error(outcomes),
        outcomes=pd.DataFrame({"example": names, "outcome": outcomes}),
        details=details,
    )


def ratio_score(
    counts: Counts, is_leaked: Bool[np.ndarray, " N"], details: dict[str, Any]
) -> Score:
    """The score of examples with these counts.

    Args:
        counts: Numerator and denominator of each test example.
        is_leaked: Test examples that occur in the training split.
        details: Further details of the score.
    """
    numerator, denominator = counts
    outcomes = outcome_of(numerator, denominator)
    clean = ~is_leaked
    clean_value = ratio(numerator[clean], denominator[clean]) if clean.any() else None
    score = outcome_score(outcomes, details | {"leak": _leak(is_leaked, clean_value)})
    return dataclasses.replace(
        score,
        value=ratio(numerator, denominator),
        outcomes=score.outcomes.assign(numerator=numerator, denominator=denominator),
    )


def _leak(is_leaked: Bool[np.ndarray, " N"], clean_value: float | None) -> dict[str, Any]:
    return {"share": float(is_leaked.mean()), "clean_value": clean_value}


def ratio(numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"]) -> float:
    """Sum over sum; 0 where the denominators are 0."""
    total = denominator.sum()
    return float(numerator.sum() / total) if total else 0.0


def outcome_of(
    numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Each example's contribution to the ratio; their mean is the ratio."""
    if (denominator == 1).all():
        return numerator.astype(float)
    value = ratio(numerator, denominator)
    parts: Float[np.ndarray, " N"] = value + (numerator - value * denominator) / max(
        denominator.mean(), 1e-12
    )
    return parts


def standard_error(outcomes: Float[np.ndarray, " N"]) -> float:
    """The standard error of the mean of independent outcomes; of a single one, one unit."""
    if len(outcomes) < 2:
        return 1.0
    return float(outcomes.std(ddof=1) / len(outcomes) ** 0.5)


def bio_spans(labels: Sequence[str | None]) -> set[tuple[str, int, int]]:
    """The (type, first, end) spans of one sentence's B-/I-/O labels, end exclusive.

    As CoNLL's scorer does it: an I- after another type or after nothing opens a span. A word
    without a label neither opens nor closes one.
    """
    spans = set()
    kind, start = "", 0
    for at, label in enumerate([*labels, "O"]):
        if label is None:
            continue
        prefix, _, of = label.partition("-")
        if kind and (prefix != "I" or of != kind):
            spans.add((kind, start, at))
            kind = ""
        if prefix in ("B", "I") and not kind:
            kind, start = of, at
    return spans


def span_counts(
    labels: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str | None]]
) -> Counts:
    """Per sentence 2 x exactly matched spans, and true + predicted spans: F1 is their ratio."""
    pairs = [(bio_spans(a), bio_spans(b)) for a, b in zip(labels, predicted, strict=True)]
    return (
        np.array([2.0 * len(true & guessed) for true, guessed in pairs]),
        np.array([float(len(true) + len(guessed)) for true, guessed in pairs]),
    )


def label_counts(
    labels: Sequence[Sequence[str | None]], predicted: Sequence[Sequence[str | None]]
) -> Counts:
    """Per sentence the number of right labels, and of labels that are not None."""
    is_label = [[label is not None for label in row] for row in labels]
    num_right = [
        sum(is_one and true == guess for is_one, true, guess in zip(mask, a, b, strict=True))
        for mask, a, b in zip(is_label, labels, predicted, strict=True)
    ]
    return np.array(num_right, dtype=float), np.array([sum(a) for a in is_label], dtype=float)


def f1_counts(labels: np.ndarray, predicted: np.ndarray, of: str = "1") -> Counts:
    """Per example 2 x right predictions of one label, and true + predicted: F1 is their ratio."""
    is_true, is_predicted = labels == of, predicted == of
    return 2.0 * (is_true & is_predicted), is_true.astype(float) + is_predicted


def v_counts(labels: Sequence[str], clusters: Int[np.ndarray, " N"]) -> Counts:
    """Per example the parts of numerator and denominator whose ratio is the V-measure.

    The V-measure is twice the mutual information of labels and clusters divided by the sum of
    their entropies. All three are means over examples, of log(p(l, k) / (p(l) p(k))), -log p(l)
    and -log p(k), and these are their influence functions too, so that the delta method holds.
    """
    _, true = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    _, own = np.unique(clusters, return_inverse=True)
    _, pair, pairs = np.unique(
        np.stack((true, own)), axis=1, return_inverse=True, return_counts=True
    )
    p_true, p_own = (np.bincount(x)[x] / len(x) for x in (true, own))
    p_both = pairs[pair.ravel()] / len(true)
    return 2 * np.log(p_both / (p_true * p_own)), -np.log(p_true) - np.log(p_own)


def matthews(labels: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, " N"]:
    """Outcomes with Matthews' correlation as mean, R_K beyond two classes (Gorodkin 2004).

    With t and p the shares of a class in labels and predictions and c the share of right
    predictions it is (c - sum t p) / sqrt((1 - sum p^2) (1 - sum t^2)), differentiated in the
    examples' weights; 0 where labels or predictions are constant.
    """
    classes, numbers = np.unique(np.concatenate((labels, predicted)), return_inverse=True)
    true, guess = numbers[: len(labels)], numbers[len(labels) :]
    t, p = (np.bincount(x, minlength=len(classes)) / len(labels) for x in (true, guess))
    agreement = (true == guess).astype(float) - p[true] - t[guess]
    spread_guess, spread_true = 1 - (p**2).sum(), 1 - (t**2).sum()
    covariance = (true == guess).mean() - (t * p).sum()
    return _coefficient(
        (covariance, agreement - agreement.mean()),
        (spread_guess, -2 * (p[guess] - (p**2).sum())),
        (spread_true, -2 * (t[true] - (t**2).sum())),
    )


def rank_correlation(x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, " N"]:
    """Outcomes with Spearman's correlation as mean, ties at their middle rank.

    An example counts three times: with its own ranks, and in the ranks of all above and below it.
    """
    a, b = _signed_ranks(x, x, 1), _signed_ranks(y, y, 1)
    agreement, spread_x, spread_y = (a * b).mean(), (a**2).mean(), (b**2).mean()
    influence = a * b - _signed_ranks(x, x, b) - _signed_ranks(y, y, a) - 3 * agreement
    return _coefficient(
        (agreement, influence),
        (spread_x, a**2 - 2 * _signed_ranks(x, x, a) - 3 * spread_x),
        (spread_y, b**2 - 2 * _signed_ranks(y, y, b) - 3 * spread_y),
    )


def _signed_ranks(
    x: np.ndarray, others: np.ndarray, weights: np.ndarray | int
) -> Float[np.ndarray, " N"]:
    """Weight of the others below each x minus the weight above it, over their number."""
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
    """Outcomes of n / sqrt(a b) from the value and the per-example influences of n, a and b."""
    (n, influence_n), (a, influence_a), (b, influence_b) = parts
    if min(a, b) < 1e-12:
        return np.zeros(len(influence_n))
    root = (a * b) ** 0.5
    return np.asarray((n + influence_n - n / 2 * (influence_a / a + influence_b / b)) / root)
