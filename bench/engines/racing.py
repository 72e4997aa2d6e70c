"""A race: all objectives at few seeds, then more seeds for those that are not significantly below.

The rule (`bench.statistics.race`) drops the best objective in at most 5 % of races, however often
one looks. The seeds that dropped objectives save are spent on the others, until one is left, the
asked difference would be seen, or as many runs are spent as the full grid has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.engines.execution import RunResult, execute, watcher
from bench.engines.jobs import JobState
from bench.engines.progress import log
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.corpus.preparation import PreparedCorpus
    from bench.engines import Engine, Watcher
    from bench.experiment import Experiment

FIRST_SEEDS = 2
"""Seeds of every objective before the first look: with one, no variance is known."""


@dataclasses.dataclass
class Race:
    """The state of a race."""

    alive: list[str]
    """Display names of the objectives that are still in it."""
    dropped: dict[str, int]
    """Display name -> the look at which it was dropped."""
    spent: int = 0
    """Pretraining runs so far; untrained encoders cost none."""


def check_race(experiment: Experiment) -> list[str]:
    """The objectives of a race.

    Raises:
        BenchError: Too few seeds, no task, or fewer than two objectives.
    """
    trained = [name for name, one in experiment.objectives.items() if one.trains]
    if len(experiment.seeds) <= FIRST_SEEDS or not experiment.tasks or len(trained) < 2:
        raise BenchError(
            f"--race needs two objectives, a task, and more than {FIRST_SEEDS} seeds, which say "
            "how many runs it may spend: --seeds 0-4"
        )
    return trained


def run_race(
    experiment: Experiment,
    prepared: PreparedCorpus,
    out: Path,
    detect: float | None = None,
    progress: bool = True,
    allow_inexact: bool = False,
    observe: Watcher | None = None,
    engine: Engine | None = None,
) -> RunResult:
    """Race the objectives of an experiment.

    Args:
        experiment: Its seeds say how many runs the full grid has.
        prepared: The prepared corpus.
        out: Folder of the records.
        detect: Stop where a difference of so many points between those left would be seen.
        progress: Show progress.
        allow_inexact: Resume although the thread count or the version of torch changed.
        observe: Called with every event of every run.
        engine: Where the runs are done; default: on this machine.

    Raises:
        BenchError: Too few seeds, no task, or fewer than two objectives.
    """
    trained = check_race(experiment)
    race = Race(alive=trained, dropped={})
    grid = len(trained) * len(experiment.seeds)
    following = [*experiment.seeds, *range(max(experiment.seeds) + 1, 10**6)]
    result = RunResult([], list(experiment.tasks))
    watch = watcher(progress, observe)
    used, look = 0, 0
    while True:
        count = FIRST_SEEDS if look == 0 else 1
        seeds = following[used : used + count]
        used += count
        states = _round(experiment, prepared, out, race, seeds, watch, allow_inexact, engine)
        result = dataclasses.replace(result, states=[*result.states, *states])
        race.spent += len(race.alive) * count
        if any(state.status == "stopped" for state in states) or not result.run_ids:
            return result
        look += 1
        is_decided = _look(result.run_ids, result.tasks, out, race, look, len(trained), detect)
        if progress:
            _report(race, look, used, grid, is_decided)
        if len(race.alive) < 2 or is_decided or race.spent + len(race.alive) > grid:
            return result


def _round(
    experiment: Experiment,
    prepared: PreparedCorpus,
    out: Path,
    race: Race,
    seeds: list[int],
    watch: Callable[[int], AbstractContextManager[Watcher]],
    allow_inexact: bool,
    engine: Engine | None,
) -> list[JobState]:
    """Run the next seeds of the objectives that are left."""
    objectives = {
        name: one
        for name, one in experiment.objectives.items()
        if name in race.alive or not one.trains
    }
    part = dataclasses.replace(experiment, objectives=objectives, seeds=seeds)
    return execute(part, prepared, out, watch, allow_inexact, engine).states


def _look(
    run_ids: Sequence[str],
    tasks: Sequence[str],
    out: Path,
    race: Race,
    look: int,
    num_objectives: int,
    detect: float | None,
) -> bool:
    """Drop the objectives that are significantly below; whether the asked difference is reached."""
    from bench import _startup
    from bench.experiment.tasks import task_suites
    from bench.records.scores import read_baselines
    from bench.records.store import read_runs
    from bench.registry import Registry
    from bench.reporting.conclusions.next_step import pair_variance
    from bench.reporting.conclusions.verdict import contest
    from bench.reporting.table_set import TableSet
    from bench.statistics.race import dropped

    with _startup.without("torch"):
        suites = task_suites(Registry())
        comparison = TableSet.from_records(
            read_runs(out, run_ids),
            read_baselines(out, damaged=[]),  # `compare` names those that are left out
            tasks=tasks,
            suites=suites,
        )
    table = comparison.tables[0] if comparison.tables else None
    found_contest = None if table is None else contest(table)
    if table is None or found_contest is None:  # no objective learned, or none has a score
        race.dropped |= dict.fromkeys(race.alive, look)
        race.alive = []
        return False
    rows = {row.objective_name: row for row in table.rows if row.attention == "native"}
    means = {name: found_contest.mean_of(table, rows[name]) for name in race.alive if name in rows}
    known = [name for name, mean in means.items() if mean is not None]
    for name in race.alive:
        if name not in known:  # it diverged, did not learn, or has no score
            race.dropped[name] = look
    losers = dropped(
        [means[name] or 0.0 for name in known],
        lambda i, j: pair_variance(table, found_contest, rows[known[i]], rows[known[j]]),
        look,
        num_objectives,
    )
    race.dropped |= {known[i]: look for i in losers}
    race.alive = [name for i, name in enumerate(known) if i not in losers]
    if detect is None or len(race.alive) < 2:
        return False
    best = max(race.alive, key=lambda name: means[name] or 0.0)
    pairs = [
        pair_variance(table, found_contest, rows[best], rows[name])
        for name in race.alive
        if name != best
    ]
    return all(pair.half_width(pair.seeds) <= detect for pair in pairs)


def _report(race: Race, look: int, used: int, grid: int, is_decided: bool) -> None:
    now = [name for name, when in race.dropped.items() if when == look]
    text = f"race, look {look} ({used} seeds, {race.spent} of {grid} runs): "
    text += f"dropped {', '.join(now)}; " if now else "dropped none; "
    text += f"left: {', '.join(race.alive)}"
    log(text + ("; the asked difference would be seen" if is_decided else ""))
