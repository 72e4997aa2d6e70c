"""How many seeds a difference of a given size needs, from the variances of existing records."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from bench.reporting.table import Table
from bench.statistics.power import DifferenceVariance

_MANY_SEEDS = 30


@dataclasses.dataclass(frozen=True)
class Detection:
    """The seeds that show a difference between two typical objectives, task by task."""

    difference: float
    """In points (x 100), or in the unit of the metric where a score is not shown x 100."""
    source: str
    """The records whose variances were used."""
    seeds: dict[str, int | None]
    """Task -> seeds of each objective; None: more than a thousand, or the test examples hide it."""
    smallest: dict[str, float]
    """Task -> minimum detectable difference with many seeds, for tasks with None."""
    together: int | None
    """Seeds that show it over all tasks together."""

    @property
    def typical(self) -> int | None:
        """The median over the tasks that can show it."""
        known = sorted(count for count in self.seeds.values() if count is not None)
        return known[len(known) // 2] if known else None


def detection(
    table: Table, difference: float, source: str, tasks: Collection[str] = ()
) -> Detection | None:
    """The seeds that each task needs; None where no variance between seeds is known.

    Args:
        table: Records with two seeds or more.
        difference: The difference to see.
        source: Name of the records, for the reader.
        tasks: The tasks that count; empty: all.
    """
    places = [place for place, row in enumerate(table.rows) if row.is_ranked]
    seeds: dict[str, int | None] = {}
    smallest: dict[str, float] = {}
    for column in table.columns:
        if not column.is_headline or column.task in seeds or (tasks and column.task not in tasks):
            continue
        part = table.pairs(column.name).part(places, places)
        upper = np.triu_indices(len(places), 1)
        known = part.seeds[upper] > 1
        if not known.any():
            continue
        unit = table.scale(column) ** 2
        variance = DifferenceVariance(
            seed=unit * float(np.median((part.seed * part.seeds)[upper][known])),
            example=unit * float(np.median(part.example[upper][known])),
            freedom=float(np.median(part.seed_freedom[upper][known])),
            seeds=int(np.median(part.seeds[upper][known])),
        )
        seeds[column.task] = variance.seeds_for(difference)
        if seeds[column.task] is None:
            smallest[column.task] = variance.half_width(_MANY_SEEDS)
    if not seeds:
        return None
    together = None
    one = table.aggregate()
    if one is not None and len(places) > 1:
        spread = float(np.median(one.variance.variance)) * 2
        examples = float(np.median(one.example_gaps[np.triu_indices(len(one.rows), 1)]))
        freedom = float(np.median(one.variance.freedom))
        over = DifferenceVariance(1e4 * spread, 1e4 * examples, freedom, max(one.seeds))
        together = over.seeds_for(difference)
    return Detection(difference, source, seeds, smallest, together)
