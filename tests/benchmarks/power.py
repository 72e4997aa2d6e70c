"""Simulated false alarms and half-widths of moderated intervals, and the errors of races.

    python -m tests.benchmarks.power [repeats]

Scores are drawn from normal distributions with equal means, so that every significant difference is
a false alarm. Spreads between seeds are equal within a task, drawn from an inverse chi-squared
distribution with three degrees of freedom, or those of the reference records.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from bench.statistics.moderation import moderate
from bench.statistics.power import DifferenceVariance
from bench.statistics.race import dropped
from tests.helpers import reference


def observed_spreads(name: str) -> np.ndarray:
    """The standard deviations between seeds in a reference store, [tasks, objectives]."""
    with tempfile.TemporaryDirectory() as folder:
        (table, *_) = reference.compared(name, Path(folder)).tables
        rows = [row for row in table.rows if row.kind == "trained"]
        spreads = [
            [
                np.nan if sample is None else sample.values.std(ddof=1)
                for row in rows
                for sample in [table.cells[row.name, column.name].sample]
            ]
            for column in table.columns
        ]
    found = np.array(spreads)
    found = np.where(np.isnan(found), np.nanmean(found, axis=1, keepdims=True), found)
    found = found[np.median(found, axis=1) > 1e-6]
    return np.maximum(found, 0.05 * np.median(found, axis=1, keepdims=True))


def cases(name: str, draw: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Spreads of a store: equal within a task, as observed, and inverse chi-squared."""
    observed = observed_spreads(name)
    typical = observed.mean(axis=1, keepdims=True)
    yield "equal", np.broadcast_to(typical, observed.shape)
    yield "observed", observed
    yield "inverse chi-squared", typical * np.sqrt(3 / draw.chisquare(3, size=observed.shape))


def intervals(spreads: np.ndarray, seeds: int, repeats: int, draw: np.random.Generator) -> str:
    """False alarms of paired t and moderated intervals, and the ratio of their half-widths."""
    tasks, count = spreads.shape
    i, j = np.triu_indices(count, 1)
    alarms = {"t": np.zeros((tasks, len(i))), "moderated": np.zeros((tasks, len(i)))}
    widths: dict[str, list[np.ndarray]] = {name: [] for name in alarms}
    for _ in range(repeats):
        y = draw.normal(size=(tasks, count, seeds)) * spreads[:, :, None]
        gap = np.abs(y[:, i].mean(axis=2) - y[:, j].mean(axis=2))
        paired = (y[:, i] - y[:, j]).var(axis=2, ddof=1)
        ones = moderate(list(y.var(axis=2, ddof=1)), [np.full(count, seeds - 1.0)] * tasks)
        both = np.stack([one.variance[i] + one.variance[j] for one in ones])
        freedom = np.stack([np.minimum(one.freedom[i], one.freedom[j]) for one in ones])
        half = {
            "t": stdtrit(seeds - 1, 0.975) * np.sqrt(paired / seeds),
            "moderated": stdtrit(freedom, 0.975) * np.sqrt(both / seeds),
        }
        for name, width in half.items():
            alarms[name] += gap > width
            widths[name].append(np.median(width, axis=1))
    rates = {name: 100 * total / repeats for name, total in alarms.items()}
    mean = {name: np.mean(found, axis=0) for name, found in widths.items()}
    texts = [f"{n} {r.mean():.1f} / {np.quantile(r, 0.95):.1f} %" for n, r in rates.items()]
    return f"{'; '.join(texts)}; width {np.mean(mean['moderated'] / mean['t']):.2f}"


def wrong_races(count: int, lead: float, repeats: int, draw: np.random.Generator) -> float:
    """The share of races that drop the best of `count` objectives."""
    wrong = 0
    for _ in range(repeats):
        spread = np.sqrt(3 / draw.chisquare(3, size=count))
        y = draw.normal(size=(count, 12)) * spread[:, None]
        y[0] += lead
        wrong += 0 not in _race(y, 5 * count)
    return wrong / repeats


def _race(y: np.ndarray, budget: int) -> list[int]:
    count, most = y.shape
    alive, seeds, look = list(range(count)), np.full(count, 2), 0
    while True:
        look += 1
        own = np.array([y[k, : seeds[k]].var(ddof=1) for k in range(count)])
        (one,) = moderate([own], [seeds - 1.0])
        of_pairs = [
            [
                DifferenceVariance(
                    float(one.variance[a] + one.variance[b]),
                    0.0,
                    float(min(one.freedom[a], one.freedom[b])),
                    int(seeds[a]),
                )
                for b in alive
            ]
            for a in alive
        ]
        means = [float(y[k, : seeds[k]].mean()) for k in alive]
        losers = dropped(means, lambda a, b, known=of_pairs: known[a][b], look, count)  # type: ignore[misc]
        alive = [k for place, k in enumerate(alive) if place not in losers]
        if len(alive) < 2 or seeds.sum() + len(alive) > budget or seeds[alive[0]] >= most:
            return alive
        seeds[alive] += 1


def main(repeats: int) -> None:
    """Print all simulations."""
    draw = np.random.default_rng(1)
    for name in ("micro", "real"):
        for kind, spreads in cases(name, draw):
            for seeds in (2, 3, 5):
                print(f"{name}, {kind}, {seeds} seeds: {intervals(spreads, seeds, repeats, draw)}")
    for count in (3, 5, 16):
        for lead in (0.0, 0.05, 0.5):
            share = wrong_races(count, lead, repeats, draw)
            print(f"race of {count}, lead {lead}: the best dropped in {100 * share:.1f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
