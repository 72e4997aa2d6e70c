"""The one next step after a comparison, with its command and its cost.

The costs are those of the runs at hand: seconds of pretraining and of scoring, of one worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bench.reporting.columns import Column
from bench.reporting.commands import command, shared_options
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
    """What to do next."""

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

    def variance(self, table: Table, rival: Row) -> DifferenceVariance | None:
        """The variances of the difference between the top and a rival, in points.

        None if they do not have two common seeds.
        """
        if self.aggregate is not None:
            i, j = (self.aggregate.rows.index(row.name) for row in (self.top, rival))
            of_seeds = self.aggregate.variance
            return DifferenceVariance(
                seed=1e4 * float(of_seeds.variance[i] + of_seeds.variance[j]),
                example=1e4 * float(self.aggregate.example_gaps[i, j]),
                freedom=float(min(of_seeds.freedom[i], of_seeds.freedom[j])),
                seeds=self.seeds,
            )
        assert self.column is not None  # a contest is on a column or over an aggregate
        pairs, unit = table.pairs(self.column.name), table.scale(self.column)
        at = table.place(self.top.name), table.place(rival.name)
        if not pairs.seeds[at] > 1:
            return None
        return DifferenceVariance(
            seed=unit**2 * float(pairs.seed[at] * pairs.seeds[at]),
            example=unit**2 * float(pairs.example[at]),
            freedom=float(pairs.seed_freedom[at]),
            seeds=int(pairs.seeds[at]),
        )


def next_step(table: Table, contest: Contest | None, out: str) -> NextStep:
    """What to do next, with its command and cost."""
    trained = [row for row in table.rows if row.kind == "trained" and row.attention == "native"]
    if not trained:
        return NextStep("")
    if not any(row.is_ranked for row in trained):
        return _longer(table, trained, out, "until the objectives learn")
    if contest is None:
        return NextStep("score tasks on these runs: the same command with --tasks or --task.")
    if contest.seeds < 2:
        text = f"two more seeds of each objective ({_cost(trained, 2)})"
        return NextStep(text, command(table, trained, out, seeds="0-2"))
    best = [contest.top, *contest.tied[:1]]
    if contest.obstacles:
        reason = f"because nothing is above {listing([quoted(n) for n in contest.obstacles], 3)}"
        return _longer(table, _native(table, best), out, reason)
    if contest.tied:
        return _more_seeds(table, contest, out)
    rivals = _native(table, [contest.top, *contest.lost[:1]])
    return _longer(table, rivals, out, "to see whether the lead holds with more training")


def _more_seeds(table: Table, contest: Contest, out: str) -> NextStep:
    """The seeds that show a difference between the leaders, or why seeds cannot show it."""
    rival = contest.tied[0]
    variance = contest.variance(table, rival)
    leaders = _native(table, [contest.top, rival])
    names = listing([quoted(row.name) for row in leaders])
    if variance is None:
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
    more = needed - contest.seeds
    if more <= 0:
        return NextStep(
            f"nothing more at this budget: a difference of {difference:g} points between "
            f"{names} would have been seen. Take the "
            "cheaper one, or compare them again with more training."
        )
    return NextStep(
        f"{more} more seeds of {names} ({_cost(leaders, more)}) would show a difference of "
        f"{difference:g} points",
        command(table, leaders, out, seeds=f"0-{needed - 1}"),
    )


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


def _cost(rows: Sequence[Row], seeds: int) -> str:
    """Hours of one worker for some seeds of each row."""
    seconds = 0.0
    for row in rows:
        runs = row.finished or list(row.runs)
        scoring = sum(score.data["seconds"] for run in runs for score in run.scores)
        pretraining = sum(run.data["spent"]["seconds"] for run in runs)
        seconds += seeds * (scoring + pretraining) / max(len(runs), 1)
    return f"about {duration(seconds)} of one worker"
