"""What figures are drawn from: the numbers of a table, and nothing else of the records.

So a figure cannot say another number than the tables do, its numbers are its CSV, and drawing can
happen in another process (plain lists: only who draws needs pandas).
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
"""What a pretraining costs, and how an axis says it."""
MOST_CURVES = 20
"""Objectives whose training curves are read; of more the first `SOME_CURVES`, since a page that
cannot show all of them had better be quick."""
SOME_CURVES = 4
_MOST_BYTES = 1 << 26


class Numbers(NamedTuple):
    """A table of them; an unknown number is NaN."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def frame(self) -> pd.DataFrame:
        """The same for pandas."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(self.names))


def scores(table: Table) -> Numbers:
    """A row an entry and column: its interval, its difference to the baseline, its seeds' values.

    Controls that did not answer have no row.
    """
    rows = []
    for entry in table.rows:
        for column in table.columns:
            cell = table.cells[entry.name, column.name]
            if entry.kind == "baseline" and cell.status == "missing":
                continue
            interval, gap = cell.interval, None
            if table.difference_to not in (None, entry.name):
                gap = table.difference(entry.name, table.difference_to, column.name)
            rows.append(
                (entry.name, entry.kind, column.name, column.metric,
                 math.nan if column.chance is None else column.chance,
                 table.scale(column), table.best.get(column.name) == entry.name,
                 *ends(interval), interval.seeds if interval else 0,
                 cell.sample and cell.sample.values.tolist(),
                 *ends(gap), gap and gap.is_significant)
            )  # fmt: skip
    keys = [
        "display_name",
        "kind",
        "column",
        "metric",
        "chance",
        "scale",
        "best",
        "mean",
        "low",
        "high",
    ]
    gaps = [f"difference_{key}" for key in ("mean", "low", "high", "significant")]
    return Numbers([*keys, "seeds", "values", *gaps], rows)


def costs(table: Table) -> tuple[Numbers, str]:
    """A row an objective: label, kind, mean, low, high and four costs; and what the score is.

    It is the aggregate over all tasks, or the score of the only one; else there is no row.
    """
    found, score = {}, ""
    if table.aggregates:
        overall, score, scale = table.aggregates[0], "interquartile mean x 100", 100.0
        found = {name: overall.of(name)[0] for name in overall.rows}
    elif len(table.columns) == 1:
        (column,) = table.columns
        scale, score = table.scale(column), column.name
        cells = {entry.name: table.cells[entry.name, column.name] for entry in table.rows}
        found = {name: cell.interval for name, cell in cells.items() if cell.interval is not None}
    rows = [
        (
            entry.name,
            entry.kind,
            *(float(plain(entry.spent[axis]) or 0) for axis in AXES),
            *(scale * x for x in (one.mean, one.low, one.high)),
        )
        for entry in table.rows
        if entry.kind != "baseline" and (one := found.get(entry.name)) is not None
    ]
    return Numbers(["display_name", "kind", *AXES, "mean", "low", "high"], rows), score


def ends(interval: Interval | None) -> list[float]:
    """Mean, low and high, as all formats tell them."""
    told = [interval.mean, interval.low, interval.high] if interval else [None] * 3
    return [math.nan if (x := plain(end)) is None else x for end in told]


def layers(table: Table) -> Numbers:
    """label, column, criterion, layer, score: means over seeds of each layer's best pooling."""
    columns = {column.variant: column.name for column in table.columns}
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for entry in table.rows:
        for score in (score for run in entry.finished for score in run.scores):
            if score.variant in columns and score.data["attention"] == entry.attention:
                details = score.data["details"]
                key = entry.name, columns[score.variant], str(details.get("criterion", "score"))
                found.setdefault(key, []).append(_best_poolings(details.get("grid")))
    rows = [
        (*key, layer, sum(values) / len(values))
        for key, seeds in found.items()
        for layer, values in enumerate(zip(*(best for best in seeds if best), strict=False))
    ]
    return Numbers(["display_name", "column", "criterion", "layer", "score"], rows)


def _best_poolings(grid: Any) -> list[float]:
    """The best of each row of a grid [layer][pooling]; nothing if it is not one."""
    try:
        return [float(max(row)) for row in grid]
    except (TypeError, ValueError):
        return []


def losses(table: Table) -> tuple[Numbers, int]:
    """label, seed, tokens, validation_loss; and of how many objectives there could be any."""
    entries = [e for e in table.rows if e.kind == "trained" and e.attention == "native"]
    read = entries if len(entries) <= MOST_CURVES else entries[:SOME_CURVES]
    rows = [
        (entry.name, run.data["seed"], *pair)
        for entry in read
        for run in entry.runs
        for pair in _curve(run)
    ]
    return Numbers(["display_name", "seed", "tokens", "validation_loss"], rows), len(entries)


def references(table: Table) -> dict[str, float]:
    """Losses of what knows nothing and of what knows frequencies."""
    for entry in table.rows:
        for run in entry.runs:
            found = run.data.get("reference_nats")
            if isinstance(found, dict):
                return {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
    return {}


def _curve(run: RunRecord) -> list[tuple[float, float]]:
    """Tokens and validation loss, if the run has them; a damaged file is no reason to fail."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / "curve.parquet"
    columns = ["tokens", "validation_loss"]
    try:
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            return []
        found = pq.ParquetFile(path).read(columns, use_threads=False).to_pydict()
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return []
    if set(found) != {*columns}:
        return []
    pairs = zip(*(found[name] for name in columns), strict=True)
    return [pair for pair in pairs if all(map(_is_number, pair))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
