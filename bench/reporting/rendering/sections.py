"""The parts of a comparison as text: one section per table, then one per curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from bench.reporting.conclusions.ladder import ladders_of
from bench.reporting.conclusions.verdict import verdict
from bench.reporting.rendering.blocks import Block, table_blocks
from bench.reporting.rendering.curve_blocks import curve_blocks
from bench.reporting.rendering.ladder_blocks import ladder_blocks
from bench.reporting.table_set import TableSet

COMMAND = "  bench "
"""How a command begins among the sentences of a verdict; it is never folded."""


@dataclasses.dataclass(frozen=True)
class TextSection:
    """A title with verdict and warnings above its grids, and notes below them."""

    title: str
    verdict: list[str]
    warnings: list[str]
    blocks: list[Block]
    notes: list[str]


def text_sections(
    table_set: TableSet, only: Collection[str] = (), transpose: bool = False
) -> Iterator[TextSection]:
    """The sections of the tables, then those of the curves over several tables.

    Args:
        table_set: The tables.
        only: Beginnings of the headings of the grids that are shown, alone; empty: everything.
        transpose: Show tasks as rows and objectives as columns.
    """
    for section in _sections(table_set):
        blocks = [
            transposed(block) if transpose and block.is_by_task else block
            for block in section.blocks
            if not only or any(block.heading.startswith(name) for name in only)
        ]
        if only:
            section = TextSection(section.title, [], [], blocks, [])
        if blocks or not only:
            yield dataclasses.replace(section, blocks=blocks)


def transposed(block: Block) -> Block:
    """The grid with rows and columns exchanged."""
    header, *rows = (list(line) for line in zip(block.header, *block.rows, strict=True))
    header[0] = "task"
    bold = frozenset((column - 1, row + 1) for row, column in block.bold if column)
    return Block(block.heading, header, rows, bold=bold, legend=block.legend)


def _sections(table_set: TableSet) -> Iterator[TextSection]:
    for table in table_set.tables:
        sentences = str(verdict(table, table_set.out)).splitlines()
        yield TextSection(table.title, sentences, table.warnings, table_blocks(table), table.notes)
    for curve in table_set.curves:
        numbers = [n for n, table in enumerate(table_set.tables, 1) if table in curve.tables]
        title = f"Tables {numbers[0]} to {numbers[-1]} together: score over budget"
        yield TextSection(title, [], [], curve_blocks(curve), [])
    for ladder in ladders_of(table_set.tables):
        title = f"A ladder of {len(ladder.tables)} rungs: does the small ranking hold?"
        yield TextSection(title, [], [], ladder_blocks(ladder), [])
