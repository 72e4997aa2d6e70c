"""Statistics of an objective's corruption over a sample: realised and nominal values.

Nominal values come from settings with certain names: `rate`, `mask_fraction` and `random_fraction`,
which the contract fixes, all names that end in `_rate`, and `mean_length`. A run is a sequence of
neighbouring chosen tokens in the input of the encoder. Drawn runs that touch count as one run, so
the mean length of runs exceeds the mean length drawn.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.pretraining.objective import MaskedObjective
from bench.pretraining.rates import rate_at
from bench.settings import as_mapping
from bench.showing.trace import State, Trace

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from bench.pretraining.objective import Objective

BINS = 10
"""Number of bins of the position profile: tenths of a row's ordinary tokens."""


@dataclasses.dataclass(frozen=True)
class CorruptionStatistics:
    """Realised and nominal values. Shares are from 0 to 1."""

    rows: int
    """Number of rows of the sample."""
    tokens: int
    """Number of ordinary tokens, to which all shares of tokens refer."""
    shares: dict[str, float]
    """Of the tokens: corrupted, predicted, moved. inserted: inputs without a token of the text, for
    each token. words: words with a chosen token, as a share of all words."""
    row_ranges: dict[str, tuple[float, float]]
    """Lowest and highest share of a row: corrupted, predicted."""
    treatment: dict[str, float]
    """Shares of the chosen tokens that are shown as mask, random, kept or removed; sums to one."""
    nominal: dict[str, float]
    """Values of the settings for any of the above. Other rates and the mean length have the names
    of their settings and the units of the objective."""
    run_tokens: list[int]
    """Number of runs of 1, 2, ... tokens."""
    run_words: list[int]
    """Number of runs of 1, 2, ... words."""
    cut_words: float
    """Share of the words with a chosen token that also have a token that is not chosen."""
    profile: dict[str, list[float]]
    """corrupted, predicted: the share in each tenth of a row."""

    def mean_run(self, unit: str) -> float:
        """Mean length of a run in `tokens` or `words`; NaN if there is no run."""
        counts = np.array(self.run_tokens if unit == "tokens" else self.run_words)
        lengths = np.arange(1, len(counts) + 1)
        return float((counts * lengths).sum() / counts.sum()) if counts.sum() else float("nan")


def corruption_statistics(
    trace: Trace, objective: Objective, progress: float
) -> CorruptionStatistics:
    """Compute the statistics over the rows of a sample.

    Args:
        trace: The rows.
        objective: The objective with its settings.
        progress: Share of the budget spent, from 0 to 1.
    """
    chosen, corrupted, real = trace.chosen, trace.corrupted, trace.real
    tokens, num_chosen = int(real.sum()), int(chosen.sum())
    flags = {"corrupted": corrupted, "predicted": trace.predicted}
    run_tokens, run_words = runs(chosen, trace.word_start & real)
    share_of_words, cut_words = chosen_words(chosen, trace.word_start, real)
    states = {
        "mask": State.HIDDEN,
        "random": State.REPLACED,
        "kept": State.KEPT,
        "removed": State.REMOVED,
    }
    return CorruptionStatistics(
        rows=len(real),
        tokens=tokens,
        shares={name: _share(flag.sum(), tokens) for name, flag in flags.items()}
        | {
            "moved": _share((trace.moved & real).sum(), tokens),
            "inserted": _share(trace.inserted.sum(), tokens),
            "words": share_of_words,
        },
        row_ranges={name: _row_range(flag, real) for name, flag in flags.items()},
        treatment={
            name: _share((chosen & (trace.state == state)).sum(), num_chosen)
            for name, state in states.items()
        },
        nominal=nominal_values(objective, progress, bool(trace.predicts_all.all())),
        run_tokens=run_tokens,
        run_words=run_words,
        cut_words=cut_words,
        profile={name: profile(flag, real) for name, flag in flags.items()},
    )


def nominal_values(
    objective: Objective, progress: float, predicts_all: bool = False
) -> dict[str, float]:
    """The values that the settings of an objective imply.

    Args:
        objective: The objective with its settings.
        progress: Share of the budget spent, from 0 to 1.
        predicts_all: Whether every token is predicted. If so, the chosen tokens are the corrupted
            ones, and the rate does not determine the share of predicted tokens.
    """
    rates = {
        name: _rate(value, progress)
        for name, value in as_mapping(objective).items()
        if name in ("rate", "mean_length") or name.endswith("_rate")
    }
    values = {name: rate for name, rate in rates.items() if name.endswith("_rate") and rate}
    if (rate := rates.get("rate")) is not None and not predicts_all:
        values["predicted"] = rate
    if (length := rates.get("mean_length")) is not None:
        values["mean_length"] = length
    if isinstance(objective, MaskedObjective):
        mask, random = objective.mask_fraction, objective.random_fraction
        values["corrupted"] = rate_at(objective.rate, progress) * (mask + random)
        if not predicts_all:
            values |= {"mask": mask, "random": random, "kept": 1 - mask - random}
        elif mask + random:
            values |= {"mask": mask / (mask + random), "random": random / (mask + random)}
    return values


def _rate(value: Any, progress: float) -> float | None:
    """The value of a setting that is a number or a schedule of a number; None for any other."""
    try:
        return rate_at(value if isinstance(value, str) else float(value), progress)
    except (TypeError, ValueError):
        return None


def runs(
    chosen: Bool[np.ndarray, "B L"], word_start: Bool[np.ndarray, "B L"]
) -> tuple[list[int], list[int]]:
    """Number of runs of neighbouring chosen tokens by length, in tokens and in words.

    Index 0 is a length of 1.
    """
    padded = np.pad(chosen, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    row, first = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    word = word_start.cumsum(1)
    in_tokens = end - first
    in_words = word[row, end - 1] - word[row, first] + 1
    return _histogram(in_tokens), _histogram(in_words)


def chosen_words(
    chosen: Bool[np.ndarray, "B L"],
    word_start: Bool[np.ndarray, "B L"],
    real: Bool[np.ndarray, "B L"],
) -> tuple[float, float]:
    """The share of words with a chosen token, and of these the share with a token not chosen."""
    rows, length = real.shape
    word = (word_start & real).cumsum(1) + np.arange(rows)[:, None] * (length + 1)
    sizes = np.bincount(word[real], minlength=rows * (length + 1))
    counts = np.bincount(word[chosen & real], minlength=rows * (length + 1))
    num_words = int((counts > 0).sum())
    num_cut = ((counts > 0) & (counts < sizes)).sum()
    return _share(num_words, (sizes > 0).sum()), _share(num_cut, num_words)


def profile(flags: Bool[np.ndarray, "B L"], real: Bool[np.ndarray, "B L"]) -> list[float]:
    """The share of flagged tokens in each tenth of the rows' ordinary tokens."""
    rank = real.cumsum(1) - 1
    tenth = (rank * BINS) // np.maximum(real.sum(1, keepdims=True), 1)
    sizes = np.bincount(tenth[real], minlength=BINS)
    counts = np.bincount(tenth[real & flags], minlength=BINS)
    return [_share(part, whole) for part, whole in zip(counts, sizes, strict=True)]


def as_json(statistics: CorruptionStatistics) -> dict[str, Any]:
    """The statistics as plain values with stable keys."""
    return {
        "rows": statistics.rows,
        "tokens": statistics.tokens,
        "shares": statistics.shares,
        "row_ranges": {name: list(ends) for name, ends in statistics.row_ranges.items()},
        "treatment": statistics.treatment,
        "nominal": statistics.nominal,
        "runs": {
            unit: {
                "mean": statistics.mean_run(unit) if counts else None,
                "histogram": {str(length + 1): n for length, n in enumerate(counts) if n},
            }
            for unit, counts in (("tokens", statistics.run_tokens), ("words", statistics.run_words))
        },
        "cut_words": statistics.cut_words,
        "position_profile": statistics.profile,
    }


def _histogram(lengths: Int[np.ndarray, " N"]) -> list[int]:
    counts: list[int] = np.bincount(lengths)[1:].tolist()
    return counts


def _row_range(
    flags: Bool[np.ndarray, "B L"], real: Bool[np.ndarray, "B L"]
) -> tuple[float, float]:
    sizes = real.sum(1)
    if not sizes.any():
        return 0.0, 0.0
    shares: Float[np.ndarray, " B"] = (flags & real).sum(1)[sizes > 0] / sizes[sizes > 0]
    return float(shares.min()), float(shares.max())


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
