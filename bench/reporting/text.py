"""A comparison as text: for a terminal, Markdown, LaTeX, CSV and JSON.

Names come from strangers, so each format escapes all of them, numbers excepted.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

from bench.errors import unknown_name
from bench.reporting.aggregates import ALL
from bench.reporting.blocks import Block, table_blocks
from bench.reporting.comparison import Comparison
from bench.reporting.curve_blocks import curve_blocks
from bench.reporting.formatting import csv_value, printable

__all__ = ["Block", "Format", "render", "table_blocks"]

_GAP = 3
"""Blanks between columns."""

Format = Literal["table", "markdown", "latex", "csv", "json"]


def render(
    compared: Comparison, format: Format = "table", width: int = 100, color: bool = False
) -> str:
    """A comparison as text.

    Args:
        compared: From `comparison`.
        format: `table` for a terminal; `csv` and `json` are the long form.
        width: Columns of the terminal; a wider table is split by tasks (`table` only).
        color: Emphasis by escape codes (`table` only).

    Raises:
        BenchError: No such format.
    """
    if format not in get_args(Format):
        raise unknown_name("format", format, get_args(Format), "bench compare --help")
    if format == "json":
        return json.dumps(compared.long_form(), indent=1, allow_nan=False) + "\n"
    if format == "csv":
        return _csv(compared.long_form())
    if not compared.tables:
        return "no finished runs to compare\n"
    if format == "table":
        return _terminal(compared, width, color)
    write = _markdown if format == "markdown" else _latex
    return "\n".join(write(part) for part in _parts(compared))


@dataclasses.dataclass(frozen=True)
class _Part:
    """What is written under one title."""

    title: str
    warnings: list[str]
    blocks: list[Block]
    notes: list[str]


def _parts(compared: Comparison) -> Iterator[_Part]:
    """The tables, then what they say together of larger and smaller budgets."""
    for table in compared.tables:
        yield _Part(table.title, table.warnings, table_blocks(table), table.notes)
    for curve in compared.curves:
        places = [place for place, table in enumerate(compared.tables, 1) if table in curve.tables]
        title = f"Tables {places[0]} to {places[-1]} together: what a larger budget gives"
        yield _Part(title, [], curve_blocks(curve), [])


def _terminal(compared: Comparison, width: int, color: bool) -> str:
    """Plain text with rules; wide blocks are split by tasks, the first columns repeated."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color,
        color_system="standard" if color else None, legacy_windows=False,
    )  # fmt: skip

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style))

    for part in _parts(compared):
        say(part.title, "bold")
        for warning in part.warnings:
            say(f"! {warning}", "bold")
        for block in part.blocks:
            say("")
            say(block.heading, "bold")
            for line in _grid_lines(block, width, color):
                console.file.write(f"{line}\n")
            if block.legend:
                say(block.legend, "dim")
        say("")
        for note in part.notes:
            say(f"- {note}")
        say("")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def _pages(sizes: list[int], fixed: int, width: int) -> list[list[int]]:
    """Columns of each page, so that none is wider than the terminal if it can be helped."""
    pages: list[list[int]] = [[]]
    for index in range(fixed, len(sizes)):
        used = sum(sizes[i] for i in [*range(fixed), *pages[-1], index])
        if pages[-1] and used > width:
            pages.append([])
        pages[-1].append(index)
    return [[*range(fixed), *page] for page in pages]


def _grid_lines(block: Block, width: int, color: bool) -> Iterator[str]:
    """The grid with a rule under its header; what is wider than the terminal is folded.

    By hand: rich's table takes two seconds for 50 objectives x 60 tasks.
    """
    from rich.cells import cell_len

    grid = [[printable(text) for text in row] for row in [block.header, *block.rows]]
    natural = [max(map(cell_len, column)) for column in zip(*grid, strict=True)]
    for picked in _pages([size + _GAP for size in natural], block.fixed, width + _GAP):
        sizes = [natural[i] for i in picked]
        while sum(sizes) + _GAP * (len(sizes) - 1) > width and max(sizes) > 1:
            sizes[sizes.index(max(sizes))] -= 1
        for number, row in enumerate(grid):
            if number - 1 in block.rules:
                yield ""
            bold = {place for place, i in enumerate(picked) if (number - 1, i) in block.bold}
            yield from _row_lines([row[i] for i in picked], sizes, bold if color else set())
            if number == 0:
                yield "─" * (sum(sizes) + _GAP * (len(sizes) - 1))


def _row_lines(cells: list[str], sizes: list[int], bold: set[int]) -> Iterator[str]:
    """A row, the first cell to the left and the others to the right."""
    from rich.cells import cell_len, chop_cells

    folded = [
        [text] if cell_len(text) <= size else chop_cells(text, size)
        for text, size in zip(cells, sizes, strict=True)
    ]
    for line in range(max(map(len, folded))):
        shown = []
        for place, (parts, size) in enumerate(zip(folded, sizes, strict=True)):
            text = parts[line] if line < len(parts) else ""
            blank = " " * (size - cell_len(text))
            text = f"\x1b[1m{text}\x1b[0m" if place in bold and text else text
            shown.append(blank + text if place else text + blank)
        yield (" " * _GAP).join(shown)


def _markdown(part: _Part) -> str:
    """GitHub's pipe tables; notes as a list."""

    def clean(text: str) -> str:
        escaped = html.escape(printable(text), quote=False)
        return re.sub(r"([\\|`*\[\]])", r"\\\1", escaped)

    lines = [f"### {clean(part.title)}", ""]
    for warning in part.warnings:
        lines += [f"> {clean(warning)}", ""]
    for block in part.blocks:
        lines += [f"**{clean(block.heading)}**", ""]
        marks = ["---", *["---:"] * (len(block.header) - 1)]
        grid = [[clean(text) for text in row] for row in [block.header, *block.rows]]
        for number, index in block.bold:
            grid[number + 1][index] = f"**{grid[number + 1][index]}**"
        lines += ["| " + " | ".join(row) + " |" for row in [grid[0], marks, *grid[1:]]]
        lines += ["", *([clean(block.legend), ""] if block.legend else [])]
    lines += [f"- {clean(note)}" for note in part.notes]
    return "\n".join(lines).rstrip("\n") + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "*": r"$^{*}$",
}  # fmt: skip


def _latex(part: _Part) -> str:
    """A `booktabs` tabular for each block."""

    def clean(text: str) -> str:
        return "".join(_LATEX.get(char, char) for char in printable(text))

    lines = [rf"\paragraph{{{clean(part.title)}}}"]
    lines += [rf"\emph{{{clean(warning)}}}\par" for warning in part.warnings]
    for block in part.blocks:
        lines += ["", rf"\noindent {clean(block.heading)}\par"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}", r"\toprule"]
        # A cell that begins with a bracket would be read as the argument of \\.
        lines += [" & ".join(f"{{{clean(name)}}}" for name in block.header) + r" \\", r"\midrule"]
        for number, row in enumerate(block.rows):
            lines += [r"\midrule"] if number in block.rules else []
            texts = [
                rf"\textbf{{{clean(text)}}}" if (number, i) in block.bold else clean(text)
                for i, text in enumerate(row)
            ]
            lines.append(" & ".join(texts) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}\par"]
        lines += [clean(block.legend)] if block.legend else []
    if part.notes:
        items = [rf"\item {clean(note)}" for note in part.notes]
        lines += ["", r"\begin{itemize}", *items, r"\end{itemize}"]
    return "\n".join(lines) + "\n"


_OVERALL = ("iqm", "iqm_low", "iqm_high", "rank", "rank_low", "rank_high")


def _csv(rows: list[dict[str, Any]]) -> str:
    """The long form, flat; a name that a spreadsheet would take for a formula is quoted."""
    gap_keys = (
        "baseline",
        "mean",
        "low",
        "high",
        "seeds",
        "significant",
        "minimum_detectable_difference",
        "p",
        "holm",
    )
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for number, row in enumerate(rows):
        gap = row["difference"] or dict.fromkeys(gap_keys)
        flat = {key: value for key, value in row.items() if key not in ("difference", "aggregates")}
        overall = row["aggregates"].get(ALL) or {}
        flat |= {key: overall.get(key) for key in _OVERALL}
        flat |= {f"difference_{key}": gap[key] for key in gap_keys}
        if number == 0:
            writer.writerow(flat)
        writer.writerow([csv_value(value) for value in flat.values()])
    return written.getvalue()
