"""The one next step after a comparison, with its command and its cost.

The costs are those of the runs at hand: seconds of pretraining and of scoring, of one worker.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from bench.reporting.columns import Column
from bench.reporting.commands import command, shared_options, whole_curve
from bench.reporting.formatting import decimal, duration, listing, quoted
from bench.reporting.table import Row, Table
from bench.statistics.aggregate import Aggregate
from bench.statistics.power import DifferenceVariance

_DIFFERENCES = (1.0, 2.0, 3.0, 5.0, 10.0)
"""Differences in points that further seeds are to show: the smallest affordable one."""
_MOST_SEEDS = 30
_MORE_BUDGET = 4


@dataclasses.dataclass(frozen=True)
class NextStep:
    """A suggestion for the next experiment."""

    text: str
    """A sentence with the cost; empty where nothing can be said."""
    command: str = ""

    def __str__(self) -> str:
        return f"{self.text}:\n  {self.command}" if self.command else self.text


@dataclasses.dataclass(frozen=True)
class Contest:
    """Which objectives lead, tie and lose, on one task or over several together."""

    top: Row
    tied: tuple[Row, ...]
    """Not distinguishable from the top."""
    lost: tuple[Row, ...]
    """Significantly below it."""
    obstacles: tuple[str, ...]
    """The untrained encoder and the baselines that the top is not significantly above."""
    strongest: str | None
    """The highest of these, whether or not the top is above it."""
    seeds: int
    column: Column | None = None
    aggregate: Aggregate | None = None

    def mean_of(self, table: Table, row: Row) -> float | None:
        """The mean of a row in points; None if it is not ranked or has no score."""
        if not row.is_ranked:
            return None
        if self.aggregate is not None:
            is_known = row.name in self.aggregate.rows
            return 100 * self.aggregate.of(row.name)[0].mean if is_known else None
        assert self.column is not None  # a contest is on a column or over an aggregate
        interval = table.cells[row.name, self.column.name].interval
        return None if interval is None else interval.mean * table.scale(self.column)


def pair_variance(table: Table, contest: Contest, row: Row, other: Row) -> DifferenceVariance:
    """The variances of the difference of two rows, in points; infinite for a single seed."""
    if contest.aggregate is not None:
        one = contest.aggregate
        i, j = one.rows.index(row.name), one.rows.index(other.name)
        is_known = min(one.seeds[i], one.seeds[j]) > 1  # one seed says nothing of its spread
        both = float(one.variance.variance[i] + one.variance.variance[j])
        return DifferenceVariance(
            seed=1e4 * both if is_known else np.inf,
            example=1e4 * float(one.example_gaps[i, j]),
            freedom=float(min(one.variance.freedom[i], one.variance.freedom[j])),
            seeds=max(1, min(one.seeds[i], one.seeds[j])),
        )
    assert contest.column is not None  # as above
    pairs, unit = table.pairs(contest.column.name), table.scale(contest.column)
    at = table.place(row.name), table.place(other.name)
    seeds = int(np.nan_to_num(pairs.seeds[at]))
    return DifferenceVariance(
        seed=unit**2 * float(np.nan_to_num(pairs.seed[at])) * seeds if seeds > 1 else np.inf,
        example=unit**2 * float(np.nan_to_num(pairs.example[at])),
        freedom=float(np.nan_to_num(pairs.seed_freedom[at], nan=1.0)),
        seeds=max(seeds, 1),
    )


def next_step(table: Table, contest: Contest | None, out: str) -> NextStep:
    """The suggested next experiment, with its command and cost."""
    trained = [row for row in table.rows if row.kind == "trained" and row.attention == "native"]
    if not trained:
        return NextStep("")
    if not any(row.is_ranked for row in trained):
        return _longer(table, trained, out, "until the objectives learn")
    if contest is None:
        return NextStep("score tasks on these runs: the same command with --tasks or --task.")
    if contest.seeds < 2:
        text = f"two more seeds of each objective ({_cost(trained, 2 * _runs_of_a_seed(table))})"
        return NextStep(text, command(table, trained, out, seeds=_extended(trained, 2)))
    best = [contest.top, *contest.tied[:1]]
    if contest.obstacles:
        place = f"on {contest.column.name}" if contest.column else "over these tasks"
        names = listing([quoted(name) for name in contest.obstacles], 3)
        reason = f"because {place} nothing is significantly above {names}"
        return _longer(table, _native(table, best), out, reason)
    if contest.tied:
        return _more_seeds(table, contest, out)
    rivals = _native(table, [contest.top, *contest.lost[:1]])
    return _longer(table, rivals, out, "to see whether the lead holds with more training")


def _more_seeds(table: Table, contest: Contest, out: str) -> NextStep:
    """The seeds that show a difference between the leaders, or why seeds cannot show it."""
    rival = contest.tied[0]
    variance = pair_variance(table, contest, contest.top, rival)
    leaders = _native(table, [contest.top, rival])
    names = listing([quoted(row.name) for row in leaders])
    if variance.seeds < 2:
        seeds = sorted({run.data["seed"] for row in leaders for run in row.runs})
        return NextStep(
            f"the same seeds for {names}, which have fewer than two in common",
            command(table, leaders, out, seeds=",".join(map(str, seeds))),
        )
    for difference in _DIFFERENCES:
        needed = variance.seeds_for(difference)
        if needed is not None and needed <= _MOST_SEEDS:
            break
    else:
        smallest = variance.half_width(_MOST_SEEDS)
        if variance.example > 0.5 * (smallest / 1.96) ** 2:
            return NextStep(
                f"more labelled test examples: with {_MOST_SEEDS} seeds, differences below "
                f"{decimal(smallest)} points stay hidden by the {_examples(table, contest)} "
                "test examples."
            )
        return _longer(table, leaders, out, "because seeds differ too much")
    more = needed - variance.seeds
    if more <= 0:
        return NextStep(
            f"nothing more at this budget: a difference of {difference:g} points between "
            f"{names} would have been seen. Take the "
            "cheaper one, or compare them again with more training."
        )
    return NextStep(
        f"{more} more seeds of {names} ({_cost(leaders, more * _runs_of_a_seed(table))}) would "
        f"show a difference of {difference:g} points",
        command(table, leaders, out, seeds=_extended(leaders, more)),
    )


def _extended(rows: Sequence[Row], more: int) -> str:
    """The seeds of some rows and so many further ones, as an option."""
    known = {run.data["seed"] for row in rows for run in row.runs}
    following = (seed for seed in itertools.count() if seed not in known)
    seeds = sorted(known | set(itertools.islice(following, more)))
    if seeds == list(range(len(seeds))):
        return f"0-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _longer(table: Table, rows: Sequence[Row], out: str, reason: str) -> NextStep:
    """The same with more training."""
    seeds = max(len(row.runs) for row in rows)
    budget = dict(shared_options(table))["--budget"]
    amount = budget.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = budget[len(amount) :]
    more = f"{float(amount) * _MORE_BUDGET:.12g}{unit}"
    text = f"{_MORE_BUDGET} x the budget, {reason} ({_cost(rows, seeds * _MORE_BUDGET)})"
    return NextStep(text, command(table, rows, out, budget=more))


def _native(table: Table, rows: Sequence[Row]) -> list[Row]:
    """The native rows of the same runs, which have another row for each further attention."""
    natives = [row for row in table.rows if row.attention == "native"]
    return [native for row in rows for native in natives if native.runs == row.runs]


def _examples(table: Table, contest: Contest) -> str:
    if contest.column is None:
        return "present"
    return f"{table.cells[contest.top.name, contest.column.name].examples:,}"


def _runs_of_a_seed(table: Table) -> float:
    """The cost of a further seed as a multiple of one run: more than 1 for a part of a curve."""
    curve = whole_curve(table)
    if curve is None:
        return 1.0
    longest, points = curve
    own = float(table.rows[0].runs[0].data["budget"]["amount"])
    return sum((longest.amount / 2.0**k for k in range(points)), 0.0) / own


def _cost(rows: Sequence[Row], seeds: float) -> str:
    """Hours of one worker for some seeds of each row."""
    seconds = 0.0
    for row in rows:
        runs = row.finished or list(row.runs)
        scoring = sum(score.data["seconds"] for run in runs for score in run.scores)
        pretraining = sum(run.data["spent"]["seconds"] for run in runs)
        seconds += seeds * (scoring + pretraining) / max(len(runs), 1)
    return f"about {duration(seconds)} of one worker"
