"""A comparison as pandas data frames. Scores are in the unit of the metric, not x 100."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.reporting.columns import Column
from bench.reporting.long_form import flat, long_form
from bench.reporting.table import Row, Table
from bench.reporting.table_set import TableSet
from bench.statistics.intervals import Interval
from bench.statistics.pairwise import concatenate, holm

if TYPE_CHECKING:
    import pandas as pd


def long_frame(table_set: TableSet) -> pd.DataFrame:
    """The long form: one line per table, row and column."""
    import pandas as pd

    return pd.DataFrame([flat(record) for record in long_form(table_set)])


def wide_frame(table_set: TableSet) -> pd.DataFrame:
    """The means: one line per table and row, one column per task; NaN without a score."""
    import pandas as pd

    index, lines = [], []
    for number, table in enumerate(table_set.tables, 1):
        for row in table.rows:
            index.append((number, row.name))
            cells = {column.name: table.cells[row.name, column.name] for column in table.columns}
            lines.append({name: cell.interval.mean if cell.interval else math.nan
                          for name, cell in cells.items()})  # fmt: skip
    names = pd.MultiIndex.from_tuples(index, names=["table", "display_name"])
    return pd.DataFrame(lines, index=names)


def task_frame(table_set: TableSet, name: str) -> pd.DataFrame:
    """The scores on one task.

    Args:
        table_set: The tables.
        name: Name of a column, or of a task (which may have several columns).
    """
    import pandas as pd

    lines = [
        _task_line(number, table, row, column)
        for number, table in enumerate(table_set.tables, 1)
        for column in table.columns
        if name in (column.name, column.task)
        for row in table.rows
        if row.kind != "baseline" or table.cells[row.name, column.name].interval is not None
    ]
    return pd.DataFrame(lines).set_index("display_name")


def _task_line(number: int, table: Table, row: Row, column: Column) -> dict[str, Any]:
    cell = table.cells[row.name, column.name]
    line = {
        "display_name": row.name,
        "table": number,
        "column": column.name,
        **_ends(cell.interval),
        "seeds": cell.interval.seeds if cell.interval else 0,
        "examples": cell.examples,
        "letters": table.letters.get((row.name, column.name), ""),
        "best": table.best.get(column.name) == row.name,
    }
    if table.difference_to is not None:
        difference = None
        if table.difference_to != row.name:
            difference = table.difference(row.name, table.difference_to, column.name)
        line |= {f"difference_{key}": value for key, value in _ends(difference).items()}
        line["significant"] = difference is not None and difference.is_significant
    return line


def difference_frame(table_set: TableSet, name: str, other: str) -> pd.DataFrame:
    """The differences of two rows in every column of every table that has both.

    Args:
        table_set: The tables.
        name: The row that counts positive.
        other: The row that counts negative.

    Raises:
        BenchError: No table has both rows and a column.
    """
    import pandas as pd

    frames = []
    for number, table in enumerate(table_set.tables, 1):
        if {name, other} <= {row.name for row in table.rows} and table.columns:
            lines = _difference_lines(table, name, other)
            frames.append(pd.DataFrame([{"table": number} | line for line in lines]))
    if not frames:
        raise BenchError(
            f"{name} and {other} have no scores in the same table: their runs are not comparable"
        )
    return pd.concat(frames).set_index("column")


def _difference_lines(table: Table, name: str, other: str) -> list[dict[str, Any]]:
    places = [table.place(name)], [table.place(other)]
    pairs = [table.pairs(column.name).part(*places) for column in table.columns]
    p_values = concatenate(pairs).p_values()[0]
    lines = []
    for column, pair, p, is_rejected in zip(
        table.columns, pairs, p_values.tolist(), holm(p_values).tolist(), strict=True
    ):
        difference = pair.interval(0, 0)
        smallest = difference.minimum_detectable_difference if difference else math.nan
        lines.append(
            {
                "column": column.name,
                **_ends(difference),
                "p": p,
                "holm": is_rejected,
                "significant": difference is not None and difference.is_significant,
                "minimum_detectable_difference": smallest,
                "seeds": difference.seeds if difference else 0,
            }
        )
    return lines


def _ends(interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return dict.fromkeys(("mean", "low", "high"), math.nan)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
