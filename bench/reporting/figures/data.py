"""The data of the figures: numbers of a table, as lists.

Figures use these numbers only, never the records, so a figure cannot contradict its table, and the
CSV of a figure holds all its data. The lists can be sent to another process, and only the process
that draws needs pandas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.reporting.formatting import plain

if TYPE_CHECKING:
    import pandas as pd

    from bench.records.store import RunRecord
    from bench.reporting.table import Table
    from bench.statistics.intervals import Interval

AXES = {
    "tokens": "tokens read",
    "predictions": "predictions made",
    "flops": "FLOPs",
    "seconds": "seconds",
}
"""The costs of a pretraining, and the labels of their axes."""
MAX_CURVES = 20
"""Up to this number of objectives, all training curves are read. With more objectives, only the
first `FEW_CURVES` are read: the page cannot show all of them, and to read them takes time."""
FEW_CURVES = 4
_MAX_BYTES = 1 << 26


class FigureData(NamedTuple):
    """The data of a figure. An unknown number is NaN."""

    names: Sequence[str]
    """Names of the columns."""
    rows: Sequence[Sequence[Any]]

    def frame(self) -> pd.DataFrame:
        """The same data for pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(self.names))


def scores(table: Table) -> FigureData:
    """One row for each cell: its interval, its difference to the baseline, and the seeds' values.

    A baseline without a score for a task has no row for it.
    """
    rows = []
    for row in table.rows:
        for column in table.columns:
            cell = table.cells[row.name, column.name]
            if row.kind == "baseline" and cell.status == "missing":
                continue
            interval, difference = cell.interval, None
            if table.difference_to not in (None, row.name):
                difference = table.difference(row.name, table.difference_to, column.name)
            rows.append(
                (row.name, row.kind, column.name, column.metric,
                 math.nan if column.chance is None else column.chance,
                 table.scale(column), table.best.get(column.name) == row.name,
                 *interval_numbers(interval), interval.seeds if interval else 0,
                 cell.sample and cell.sample.values.tolist(),
                 *interval_numbers(difference), difference and difference.is_significant,
                 column.is_own, row.spent["seconds"])
            )  # fmt: skip
    names = ["display_name", "kind", "column", "metric", "chance", "scale", "best"]
    names += ["mean", "low", "high", "seeds", "values"]
    names += [f"difference_{name}" for name in ("mean", "low", "high", "significant")]
    names += ["is_own", "seconds"]
    return FigureData(names, rows)


def costs(table: Table) -> tuple[FigureData, str]:
    """One row for each objective: name, kind, four costs, mean, low and high; and the score's name.

    The score is the aggregate over all tasks, or the score of the only task. With several tasks and
    no aggregate there are no rows.
    """
    intervals, score = {}, ""
    overall = table.aggregate()
    if overall is not None:
        score, scale = "interquartile mean x 100", 100.0
        intervals = {name: overall.of(name)[0] for name in overall.rows}
    elif len(table.columns) == 1:
        (column,) = table.columns
        scale, score = table.scale(column), column.name
        cells = {row.name: table.cells[row.name, column.name] for row in table.rows}
        intervals = {
            name: cell.interval for name, cell in cells.items() if cell.interval is not None
        }
    rows = [
        (
            row.name,
            row.kind,
            *(float(plain(row.spent[axis]) or 0) for axis in AXES),
            *(scale * x for x in (interval.mean, interval.low, interval.high)),
        )
        for row in table.rows
        if row.kind != "baseline" and (interval := intervals.get(row.name)) is not None
    ]
    return FigureData(["display_name", "kind", *AXES, "mean", "low", "high"], rows), score


def interval_numbers(interval: Interval | None) -> list[float]:
    """Mean, low and high, rounded as in all formats; NaN if there is no interval."""
    if interval is None:
        return [math.nan] * 3
    numbers = (plain(number) for number in (interval.mean, interval.low, interval.high))
    return [math.nan if number is None else number for number in numbers]


def layers(table: Table) -> FigureData:
    """display_name, column, criterion, layer, score.

    The score of a layer is that of its best pooling, as a mean over seeds.
    """
    columns = {column.variant: column.name for column in table.columns}
    seeds_of: dict[tuple[str, str, str], list[list[float]]] = {}
    for row in table.rows:
        for score in (score for run in row.finished for score in run.scores):
            if score.variant in columns and score.data["attention"] == row.attention:
                details = score.data["details"]
                key = row.name, columns[score.variant], str(details.get("criterion", "score"))
                seeds_of.setdefault(key, []).append(_best_poolings(details.get("grid")))
    rows = [
        (*key, layer, sum(values) / len(values))
        for key, seeds in seeds_of.items()
        for layer, values in enumerate(zip(*(best for best in seeds if best), strict=False))
    ]
    return FigureData(["display_name", "column", "criterion", "layer", "score"], rows)


def _best_poolings(grid: Any) -> list[float]:
    """The best value of each row of a grid [layer][pooling]; empty if it is not such a grid."""
    try:
        return [float(max(row)) for row in grid]
    except (TypeError, ValueError):
        return []


def losses(table: Table) -> tuple[FigureData, int]:
    """display_name, seed, tokens, validation_loss; and the number of pretrained objectives."""
    trained = [row for row in table.rows if row.kind == "trained" and row.attention == "native"]
    read = trained if len(trained) <= MAX_CURVES else trained[:FEW_CURVES]
    rows = [
        (row.name, run.data["seed"], *point)
        for row in read
        for run in row.runs
        for point in _curve(run)
    ]
    return FigureData(["display_name", "seed", "tokens", "validation_loss"], rows), len(trained)


def reference_losses(table: Table) -> dict[str, float]:
    """The losses of a uniform prediction and of the token frequencies, in nats."""
    for row in table.rows:
        for run in row.runs:
            references = run.data.get("reference_nats")
            if isinstance(references, dict):
                return {k: float(v) for k, v in references.items() if isinstance(v, int | float)}
    return {}


def _curve(run: RunRecord) -> list[tuple[float, float]]:
    """Tokens and validation loss; empty if the run has no curve or the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / "curve.parquet"
    names = ["tokens", "validation_loss"]
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_BYTES:
            return []
        columns = pq.ParquetFile(path).read(names, use_threads=False).to_pydict()
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return []
    if set(columns) != {*names}:
        return []
    points = zip(*(columns[name] for name in names), strict=True)
    return [point for point in points if all(map(_is_number, point))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
