"""What an objective really does, counted over a sample, beside what its settings say.

Nominal figures come from settings by their names: `rate`, `mask_fraction` and `random_fraction`,
which the contract fixes, others that end in `_rate`, and `mean_length`. A run is a stretch of
neighbouring chosen tokens, as the encoder meets it: runs that touch count as one, which makes them
longer than they were drawn.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pretraining.objective import MaskedObjective, rate_at
from bench.settings import as_mapping
from bench.showing.trace import State, Trace

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from bench.pretraining.objective import Objective

BINS = 10
"""Of the position profile: tenths of a row's ordinary tokens."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Shares are of 1; histograms count runs of length 1, 2, ... (index 0: length 1)."""

    rows: int
    tokens: int
    """Ordinary ones; all shares of tokens are of these."""
    shares: dict[str, float]
    """corrupted, predicted, moved; inserted (inputs that stand for no token, for each token); words
    (those with a chosen token, of all words)."""
    row_ranges: dict[str, tuple[float, float]]
    """Lowest and highest share of a row."""
    treatment: dict[str, float]
    """What the chosen tokens are shown as: mask, random, kept, removed; sums to one."""
    nominal: dict[str, float]
    """What the settings say of any of the above; and other rates and mean lengths by their own
    names, in the objective's own units."""
    run_tokens: list[int]
    run_words: list[int]
    cut_words: float
    """Share of the words touched that are chosen in part only."""
    profile: dict[str, list[float]]
    """corrupted, predicted: the share in each tenth of a row."""

    def mean_run(self, unit: str) -> float:
        """Mean length of a run in `tokens` or `words`; not a number where there is none."""
        counts = np.array(self.run_tokens if unit == "tokens" else self.run_words)
        lengths = np.arange(1, len(counts) + 1)
        return float((counts * lengths).sum() / counts.sum()) if counts.sum() else float("nan")


def figures(trace: Trace, objective: Objective, progress: float) -> Figures:
    """Count over the rows of a sample."""
    chosen, corrupted, real = trace.chosen, trace.corrupted, trace.real
    tokens, num_chosen = int(real.sum()), int(chosen.sum())
    marks = {"corrupted": corrupted, "predicted": trace.predicted}
    run_tokens, run_words = runs(chosen, trace.word_start & real)
    touched, cut = words_hit(chosen, trace.word_start, real)
    states = {
        "mask": State.HIDDEN,
        "random": State.REPLACED,
        "kept": State.KEPT,
        "removed": State.REMOVED,
    }
    return Figures(
        rows=len(real),
        tokens=tokens,
        shares={name: _share(mark.sum(), tokens) for name, mark in marks.items()}
        | {
            "moved": _share((trace.moved & real).sum(), tokens),
            "inserted": _share(trace.inserted.sum(), tokens),
            "words": touched,
        },
        row_ranges={name: _row_range(mark, real) for name, mark in marks.items()},
        treatment={
            name: _share((chosen & (trace.state == state)).sum(), num_chosen)
            for name, state in states.items()
        },
        nominal=nominal(objective, progress, bool(trace.asks_all.all())),
        run_tokens=run_tokens,
        run_words=run_words,
        cut_words=cut,
        profile={name: profile(mark, real) for name, mark in marks.items()},
    )


def nominal(objective: Objective, progress: float, asks_all: bool = False) -> dict[str, float]:
    """What the settings say that the figures should be.

    Args:
        objective: With its settings.
        progress: Share of the budget spent.
        asks_all: Every token is predicted. Then the chosen ones are those that are corrupted, and
            the rate says nothing about how many are predicted.
    """
    rates = {
        name: _rate(value, progress)
        for name, value in as_mapping(objective).items()
        if name in ("rate", "mean_length") or name.endswith("_rate")
    }
    found = {name: rate for name, rate in rates.items() if name.endswith("_rate") and rate}
    if (rate := rates.get("rate")) is not None and not asks_all:
        found["predicted"] = rate
    if (length := rates.get("mean_length")) is not None:
        found["mean_length"] = length
    if isinstance(objective, MaskedObjective):
        mask, random = objective.mask_fraction, objective.random_fraction
        found["corrupted"] = rate_at(objective.rate, progress) * (mask + random)
        if not asks_all:
            found |= {"mask": mask, "random": random, "kept": 1 - mask - random}
        elif mask + random:
            found |= {"mask": mask / (mask + random), "random": random / (mask + random)}
    return found


def _rate(value: Any, progress: float) -> float | None:
    """A setting as a number, if it is one or a schedule of one."""
    try:
        return rate_at(value if isinstance(value, str) else float(value), progress)
    except (TypeError, ValueError):
        return None


def runs(
    chosen: Bool[np.ndarray, "B L"], word_start: Bool[np.ndarray, "B L"]
) -> tuple[list[int], list[int]]:
    """How many runs of neighbouring chosen tokens there are of each length, in tokens and words."""
    edged = np.pad(chosen, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(edged, axis=1)
    row, first = np.nonzero(change == 1)
    _, after = np.nonzero(change == -1)
    word = word_start.cumsum(1)
    in_tokens = after - first
    in_words = word[row, after - 1] - word[row, first] + 1
    return _histogram(in_tokens), _histogram(in_words)


def words_hit(
    chosen: Bool[np.ndarray, "B L"],
    word_start: Bool[np.ndarray, "B L"],
    real: Bool[np.ndarray, "B L"],
) -> tuple[float, float]:
    """Share of the words with a chosen token; and of these, the share with another that is not."""
    rows, length = real.shape
    word = (word_start & real).cumsum(1) + np.arange(rows)[:, None] * (length + 1)
    sizes = np.bincount(word[real], minlength=rows * (length + 1))
    hit = np.bincount(word[chosen & real], minlength=rows * (length + 1))
    num_hit = int((hit > 0).sum())
    return _share(num_hit, (sizes > 0).sum()), _share(((hit > 0) & (hit < sizes)).sum(), num_hit)


def profile(marked: Bool[np.ndarray, "B L"], real: Bool[np.ndarray, "B L"]) -> list[float]:
    """The share of marked tokens in each tenth of the rows' ordinary tokens."""
    rank = real.cumsum(1) - 1
    tenth = (rank * BINS) // np.maximum(real.sum(1, keepdims=True), 1)
    there = np.bincount(tenth[real], minlength=BINS)
    hit = np.bincount(tenth[real & marked], minlength=BINS)
    return [_share(part, whole) for part, whole in zip(hit, there, strict=True)]


def as_json(found: Figures) -> dict[str, Any]:
    """The figures as plain values, keys that stay."""
    return {
        "rows": found.rows,
        "tokens": found.tokens,
        "shares": found.shares,
        "row_ranges": {name: list(ends) for name, ends in found.row_ranges.items()},
        "treatment": found.treatment,
        "nominal": found.nominal,
        "runs": {
            unit: {
                "mean": found.mean_run(unit) if counts else None,
                "histogram": {str(length + 1): n for length, n in enumerate(counts) if n},
            }
            for unit, counts in (("tokens", found.run_tokens), ("words", found.run_words))
        },
        "cut_words": found.cut_words,
        "position_profile": found.profile,
    }


def _histogram(lengths: Int[np.ndarray, " N"]) -> list[int]:
    counted: list[int] = np.bincount(lengths)[1:].tolist()
    return counted


def _row_range(
    marked: Bool[np.ndarray, "B L"], real: Bool[np.ndarray, "B L"]
) -> tuple[float, float]:
    sizes = real.sum(1)
    if not sizes.any():
        return 0.0, 0.0
    shares: Float[np.ndarray, " B"] = (marked & real).sum(1)[sizes > 0] / sizes[sizes > 0]
    return float(shares.min()), float(shares.max())


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
