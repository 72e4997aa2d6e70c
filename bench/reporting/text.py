"""A comparison as text: for a terminal, Markdown, LaTeX, CSV and JSON.

Names may come from other people, so each format escapes everything except numbers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from typing import Literal, get_args

from bench.errors import unknown_name
from bench.reporting.commands import compare_command
from bench.reporting.formatting import csv_value
from bench.reporting.long_form import flat, long_form
from bench.reporting.rendering.markup import latex, markdown
from bench.reporting.rendering.sections import text_sections
from bench.reporting.rendering.terminal import terminal_text
from bench.reporting.table_set import TableSet

Format = Literal["table", "markdown", "latex", "csv", "json"]


def render(
    table_set: TableSet,
    format: Format = "table",
    width: int = 100,
    color: bool = False,
    only: Collection[str] = (),
    transpose: bool = False,
) -> str:
    """A comparison as text.

    Args:
        table_set: The tables.
        format: `table` for a terminal; `csv` and `json` are the long form.
        width: Columns of the terminal; a wider table is split by tasks (`table` only).
        color: Emphasis by escape codes (`table` only).
        only: Beginnings of the headings of the grids that are shown (`scores`, `cost`); empty: all.
        transpose: Tasks as rows and objectives as columns.

    Raises:
        BenchError: There is no such format.
    """
    if format not in get_args(Format):
        raise unknown_name("format", format, get_args(Format), "bench compare --help")
    if format == "json":
        return json.dumps(long_form(table_set), indent=1, allow_nan=False) + "\n"
    if format == "csv":
        return _csv(table_set)
    if not table_set.tables:
        return "no finished runs to compare\n"
    sections = list(text_sections(table_set, only, transpose))
    if only and not sections:
        known = [block.heading for each in text_sections(table_set) for block in each.blocks]
        listing = compare_command(table_set.out)
        raise unknown_name("grid", ", ".join(only), dict.fromkeys(known), listing)
    if format == "table":
        return terminal_text(sections, width, color)
    write = markdown if format == "markdown" else latex
    return "\n".join(write(section) for section in sections)


def _csv(table_set: TableSet) -> str:
    """The long form, flat; a name that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, record in enumerate(map(flat, long_form(table_set))):
        if number == 0:
            writer.writerow(record)
        writer.writerow([csv_value(value) for value in record.values()])
    return text.getvalue()
