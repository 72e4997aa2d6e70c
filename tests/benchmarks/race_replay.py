"""Replays races on the reference records: what a race saves, and how often it is wrong.

    python -m tests.benchmarks.race_replay [NAME] [REPEATS]

NAME is a folder of results/reference (default: micro). Every race sees the seeds in another order
and may spend half of the grid. It is right if the objective that leads then is, with all seeds, the
highest one or not distinguishable from it.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from bench.engines.racing import FIRST_SEEDS, Race, _look
from bench.records.scores import read_baselines
from bench.records.store import RunRecord, read_runs
from bench.reporting.conclusions.verdict import contest
from bench.reporting.table_set import TableSet
from tests.helpers.paths import ROOT

SHARE = 0.5
"""Of the runs of the full grid that a race may spend."""


def top_group(folder: Path, runs: list[RunRecord]) -> tuple[str, set[str]]:
    """The leading objective, and the names of those that are not distinguishable from it."""
    (table,) = TableSet.from_records(runs, read_baselines(folder)).tables
    found = contest(table)
    assert found is not None  # there are several objectives
    return found.top.objective_name, {row.objective_name for row in [found.top, *found.tied]}


def replay(folder: Path, runs: list[RunRecord], order: tuple[int, ...]) -> tuple[str, list[str]]:
    """The leader after half of the grid, and the objectives that are left."""
    ids = {(run.data["display_name"], run.data["seed"]): run.data["id"] for run in runs}
    trained = {run.data["display_name"] for run in runs if run.data["spent"]["tokens"]}
    race = Race(alive=sorted(trained), dropped={})
    seeds, used, number = len(order), [], 0
    untrained = [name for name, _ in ids if name not in trained]
    while True:
        new = order[:FIRST_SEEDS] if not number else order[number + 1 : number + 2]
        if not new or race.spent + len(race.alive) * len(new) > SHARE * len(trained) * seeds:
            break
        used += [ids[name, seed] for name in [*race.alive, *set(untrained)] for seed in new]
        race.spent += len(race.alive) * len(new)
        number += 1
        _look(used, folder, race, number, len(trained), None)
    seen = [run for run in runs if run.data["id"] in used]
    left = [run for run in seen if run.data["display_name"] in {*race.alive, *untrained}]
    leader = race.alive[0] if len(race.alive) == 1 else top_group(folder, left)[0]
    return leader, race.alive


def main(name: str, repeats: int) -> None:
    """Print the share of right races, the cost, and what is left."""
    with (
        tempfile.TemporaryDirectory() as place,
        zipfile.ZipFile(ROOT / "results" / "reference" / name / "records.zip") as archive,
    ):
        archive.extractall(place)
        folder = Path(place)
        runs = read_runs(folder, ())
        leader, group = top_group(folder, runs)
        print(f"all seeds: {leader} leads; top group: {', '.join(sorted(group))}")
        seeds = sorted({run.data["seed"] for run in runs})
        orders = list(itertools.permutations(seeds))
        chosen = np.random.default_rng(0).permutation(len(orders))[:repeats]
        right, kept, left = 0, 0, []
        for place_ in chosen:
            first, alive = replay(folder, runs, orders[place_])
            right, kept = right + (first in group), kept + (leader in alive)
            left.append(len(alive))
        count = len(chosen)
        print(f"{count} races of half the grid: {right} led by a member of the top group,")
        print(f"{kept} keep {leader}; {np.mean(left):.1f} objectives are left on average")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "micro", int((sys.argv[2:] or ["40"])[0]))
