"""A comparison on one screen: title, score table and verdict, for `repr` and for notebooks."""

from __future__ import annotations

import dataclasses
import html
import textwrap

from bench.reporting.conclusions.verdict import verdict
from bench.reporting.formatting import printable
from bench.reporting.rendering.blocks import Block, scores_block
from bench.reporting.rendering.terminal import grid_lines, pages
from bench.reporting.table_set import TableSet

_WIDTH = 100
_MAX_ROWS = 18
_MAX_NAME = 28
_MAX_TITLE_LINES = 3
_MAX_LEGEND_LINES = 3
_MAX_VERDICT_LINES = 10
_SPACING = 3  # blanks between columns, as `grid_lines` has them


def verdict_text(table_set: TableSet) -> str:
    """The sentences of every table, one paragraph per table."""
    paragraphs = [str(verdict(table, table_set.out)) for table in table_set.tables]
    if len(paragraphs) == 1:
        return paragraphs[0]
    return "\n".join(f"Table {number}: {text}" for number, text in enumerate(paragraphs, 1))


def overview_text(table_set: TableSet) -> str:
    """The first table, cut if it is large, and the verdict: at most 40 lines of 100 columns."""
    if not table_set.tables:
        return "no finished runs to compare"
    first = table_set.tables[0]
    lines = _wrapped(first.title, _MAX_TITLE_LINES)
    if first.columns:
        block = scores_block(first)
        lines += ["", *_grid(block), *_wrapped(block.legend, _MAX_LEGEND_LINES)]
    others = len(table_set.tables) - 1
    if others:
        noun = "table" if others == 1 else "tables"
        lines.append(f"... {others} more {noun}: print(comparison.to_text())")
    return "\n".join([*lines, "", *_wrapped(_short_verdict(table_set), _MAX_VERDICT_LINES)])


def _short_verdict(table_set: TableSet) -> str:
    """The conclusions; the first one of each of several tables."""
    conclusions = [verdict(table, table_set.out).lines for table in table_set.tables]
    if len(conclusions) == 1:
        return "\n".join(conclusions[0])
    return "\n".join(f"Table {number}: {lines[0]}" for number, lines in enumerate(conclusions, 1))


def _grid(block: Block) -> list[str]:
    """The grid of the scores, without the rows and columns that do not fit on a screen."""
    grid = [[_cut(text) for text in row] for row in [block.header, *block.rows]]
    sizes = [max(map(_cells, column)) + _SPACING for column in zip(*grid, strict=True)]
    columns = pages(sizes, block.fixed, _WIDTH + _SPACING)[0]
    grid = [[row[i] for i in columns] for row in grid]
    shown = dataclasses.replace(
        block, header=grid[0], rows=grid[1 : _MAX_ROWS + 1], rules=frozenset(), bold=frozenset()
    )
    hidden = [
        f"{count} more {noun}{'s' * (count > 1)}"
        for count, noun in (
            (len(block.rows) - len(shown.rows), "row"),
            (len(block.header) - len(columns), "column"),
        )
        if count > 0
    ]
    lines = [line.rstrip() for line in grid_lines(shown, _WIDTH)]
    return [*lines, *([f"... {', '.join(hidden)}: .table()"] if hidden else [])]


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str) -> str:
    """The text, shortened so that every cell has one line."""
    from rich.cells import set_cell_size

    text = printable(text)
    return text if _cells(text) <= _MAX_NAME else set_cell_size(text, _MAX_NAME - 1) + "…"


def _wrapped(text: str, most: int) -> list[str]:
    """The text in lines, the last of which ends with … if there are more than `most`."""
    lines = [
        line
        for paragraph in text.split("\n")
        for line in textwrap.wrap(printable(paragraph), _WIDTH) or [""]
    ]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: _WIDTH - 2].rstrip() + " …"]
    return lines


_STYLE = "text-align: right; padding: 0.1em 0.8em; white-space: nowrap; border: none"
_NAME_STYLE = _STYLE.replace("right", "left")


def overview_html(table_set: TableSet) -> str:
    """The score tables, legends and verdict as self-contained HTML, for notebooks."""
    if not table_set.tables:
        return "<p>no finished runs to compare</p>"
    parts = []
    for table in table_set.tables:
        parts.append(f"<h4>{_escaped(table.title)}</h4>")
        parts += [f"<p><strong>{_escaped(warning)}</strong></p>" for warning in table.warnings]
        if table.columns:
            parts.append(_html_grid(scores_block(table)))
        sentences = str(verdict(table, table_set.out)).splitlines()
        parts += [f"<p>{_escaped(sentence)}</p>" for sentence in sentences]
    return f"<div>\n{chr(10).join(parts)}\n</div>"


def _html_grid(block: Block) -> str:
    """A grid with its heading as caption, and its legend below."""
    lines = ['<table style="border-collapse: collapse">']
    lines.append(f"<caption>{_escaped(block.heading)}</caption>")
    names = "".join(
        f'<th scope="col" style="{_STYLE if i else _NAME_STYLE}">{_escaped(name)}</th>'
        for i, name in enumerate(block.header)
    )
    lines.append(f"<thead><tr>{names}</tr></thead>\n<tbody>")
    for number, row in enumerate(block.rows):
        cells = [f'<th scope="row" style="{_NAME_STYLE}">{_escaped(row[0])}</th>']
        for index, text in enumerate(row[1:], 1):
            shown = _escaped(text)
            shown = f"<strong>{shown}</strong>" if (number, index) in block.bold else shown
            cells.append(f'<td style="{_STYLE}">{shown}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, f"</tbody></table>\n<p><small>{_escaped(block.legend)}</small></p>"])


def _escaped(text: str) -> str:
    return html.escape(printable(text))
