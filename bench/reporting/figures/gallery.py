"""Which figures a report has, and when they are begun.

All but one are begun before anything is concluded over several tasks, and all of it is drawn while
the rest of the page is made (see `painting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from bench.reporting.figures import cost as figures_cost
from bench.reporting.figures import data as frames
from bench.reporting.figures import scores as figures_scores
from bench.reporting.figures import training as figures_training
from bench.reporting.figures.workers import Drawing, Painter, paint

if TYPE_CHECKING:
    from bench.reporting.figures.style import Figure
    from bench.reporting.table import Table

MOST_DRAWN = 6
"""Tables that get figures; a grid of forty learning rates has forty tables."""


class Gallery:
    """The figures of a comparison's tables."""

    def __init__(self, painter: Painter = paint) -> None:
        self._painter = painter
        self._begun: list[tuple[Iterable[Figure | None], Iterable[Figure | None]]] = []

    def begin(self, tables: Sequence[Table]) -> None:
        """Begin all but what is concluded over tasks."""
        for table, prefix in _named(tables):
            training = self._painter(of_training(table, prefix))
            self._begun.append((self._painter(of_tasks(table, prefix)), training))

    def of(self, tables: Sequence[Table]) -> list[Iterator[Figure]]:
        """Begin the others; the figures of each table, to be waited for."""
        if not self._begun:
            self.begin(tables)
        overall = [self._painter(over_tasks(*one)) for one in _named(tables)]
        found = [
            (figure for figure in chain(first, *others) if figure is not None)
            for first, others in zip(overall, self._begun, strict=True)
        ]
        return [*found, *(iter(()) for _ in tables[MOST_DRAWN:])]


def over_tasks(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figure of all tasks together, yet to be drawn."""
    points, score = frames.costs(table)
    if any(kind == "trained" for _, kind, *_ in points.rows):
        yield partial(figures_cost.costs, points, score, f"{prefix}cost")


def of_tasks(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figures of each task by itself, yet to be drawn."""
    if table.columns:
        rows = frames.scores(table)
        yield partial(figures_scores.dots, rows, f"{prefix}scores")
        yield partial(figures_scores.heat_map, rows, table.difference_to, f"{prefix}heat_map")


def of_training(table: Table, prefix: str = "") -> Iterator[Drawing]:
    """The figures of what training and probing saw, yet to be drawn."""
    layers = frames.layers(table)
    if layers.rows:
        kinds = {entry.name: entry.kind for entry in table.rows}
        columns = [column.name for column in table.columns]
        yield partial(figures_training.layers, layers, kinds, columns, f"{prefix}layers")
    losses, count = frames.losses(table)
    if losses.rows:
        known = frames.references(table)
        yield partial(figures_training.curves, losses, count, known, f"{prefix}curves")


def _named(tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """The tables that get figures, and how the names of their figures begin."""
    for number, table in enumerate(tables[:MOST_DRAWN], 1):
        yield table, f"table_{number}_" if len(tables) > 1 else ""
