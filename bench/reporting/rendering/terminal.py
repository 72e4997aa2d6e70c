"""A comparison as plain text for a terminal: grids with rules, split into pages of columns."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from bench.reporting.formatting import printable
from bench.reporting.rendering.blocks import Block
from bench.reporting.rendering.sections import COMMAND, TextSection

_SPACING = 3
"""Blanks between columns."""


def terminal_text(sections: Iterable[TextSection], width: int, color: bool) -> str:
    """All sections as text.

    Args:
        sections: The sections.
        width: Columns of the terminal; wider grids are split by columns, the first ones repeated.
        color: Emphasis by escape codes.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color,
        color_system="standard" if color else None, legacy_windows=False,
    )  # fmt: skip

    def write(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style))

    for section in sections:
        write(section.title, "bold")
        for sentence in section.verdict:  # a command is not folded, so that it can be pasted
            is_command = sentence.startswith(COMMAND)
            console.print(Text(printable(sentence)), soft_wrap=is_command)
        for warning in section.warnings:
            write(f"! {warning}", "bold")
        for block in section.blocks:
            write("")
            write(block.heading, "bold")
            for line in grid_lines(block, width, color):
                console.file.write(f"{line}\n")
            if block.legend:
                write(block.legend, "dim")
        write("")
        for note in section.notes:
            write(f"- {note}")
        write("")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def grid_lines(block: Block, width: int, color: bool = False) -> Iterator[str]:
    """The grid with a rule under its header; cells wider than the terminal are folded.

    Written by hand, because rich's table takes two seconds for 50 objectives x 60 tasks.
    """
    from rich.cells import cell_len

    grid = [[printable(text) for text in row] for row in [block.header, *block.rows]]
    natural = [max(map(cell_len, column)) for column in zip(*grid, strict=True)]
    for columns in pages([size + _SPACING for size in natural], block.fixed, width + _SPACING):
        sizes = [natural[i] for i in columns]
        while sum(sizes) + _SPACING * (len(sizes) - 1) > width and max(sizes) > 1:
            sizes[sizes.index(max(sizes))] -= 1
        for number, row in enumerate(grid):
            if number - 1 in block.rules:
                yield ""
            bold = {place for place, i in enumerate(columns) if (number - 1, i) in block.bold}
            yield from _row_lines([row[i] for i in columns], sizes, bold if color else set())
            if number == 0:
                yield "─" * (sum(sizes) + _SPACING * (len(sizes) - 1))


def pages(sizes: list[int], fixed: int, width: int) -> list[list[int]]:
    """The columns of each page, so that no page is wider than the terminal if possible.

    Args:
        sizes: Widths of all columns.
        fixed: Number of first columns that every page repeats.
        width: Columns of the terminal.
    """
    later: list[list[int]] = [[]]
    for index in range(fixed, len(sizes)):
        used = sum(sizes[i] for i in [*range(fixed), *later[-1], index])
        if later[-1] and used > width:
            later.append([])
        later[-1].append(index)
    return [[*range(fixed), *page] for page in later]


def _row_lines(cells: list[str], sizes: list[int], bold: set[int]) -> Iterator[str]:
    """The lines of a row: the first cell aligned left, the others right."""
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
        yield (" " * _SPACING).join(shown)
