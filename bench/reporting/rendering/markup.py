"""A section as Markdown and as LaTeX. All names are escaped, as they may come from other people."""

from __future__ import annotations

import html
import re

from bench.reporting.formatting import printable
from bench.reporting.rendering.blocks import Block
from bench.reporting.rendering.sections import COMMAND, TextSection
from bench.reporting.rendering.terminal import pages

_TEX_WIDTH = 78
"""Letters that fit across the text of an article in footnote size."""
_TEX_ROWS = 40
"""Rows of a float at most."""


def markdown(section: TextSection) -> str:
    """A section with GitHub's pipe tables; notes are a list."""
    lines = [f"### {_escape_markdown(section.title)}", ""]
    for sentence in section.verdict:
        is_command = sentence.startswith(COMMAND)
        lines += [_code(sentence) if is_command else _escape_markdown(sentence), ""]
    for warning in section.warnings:
        lines += [f"> {_escape_markdown(warning)}", ""]
    for block in section.blocks:
        lines += [f"**{_escape_markdown(block.heading)}**", ""]
        alignment = ["---", *["---:"] * (len(block.header) - 1)]
        grid = [[_escape_markdown(text) for text in row] for row in [block.header, *block.rows]]
        for number, index in block.bold:
            grid[number + 1][index] = f"**{grid[number + 1][index]}**"
        lines += ["| " + " | ".join(row) + " |" for row in [grid[0], alignment, *grid[1:]]]
        lines += ["", *([_escape_markdown(block.legend), ""] if block.legend else [])]
    lines += [f"- {_escape_markdown(note)}" for note in section.notes]
    return "\n".join(lines).rstrip() + "\n"


def _code(command: str) -> str:
    """A command as a block of HTML, in which Markdown reads no marks."""
    escaped = html.escape(printable(command.strip()), quote=False).replace("](", "]&#40;")
    return f"<pre><code>{escaped}</code></pre>"


def _escape_markdown(text: str) -> str:
    escaped = html.escape(printable(text), quote=False)
    return re.sub(r"([\\|`*\[\]])", r"\\\1", escaped)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "|": r"\textbar{}",
    '"': "''", "*": r"$^{*}$",
}  # fmt: skip


def latex(section: TextSection) -> str:
    """A section with a float for each grid, for a bare article with `booktabs`.

    A grid that is wider than a page is several tabulars below each other, as in a terminal.
    """
    lines = [r"\begingroup\sloppy", rf"\paragraph{{{_escape_latex(section.title)}}}"]
    sentences = [one for one in section.verdict if not one.startswith(COMMAND)]
    lines += [rf"{_escape_latex(sentence)}\par" for sentence in sentences]
    lines += [rf"\emph{{{_escape_latex(warning)}}}\par" for warning in section.warnings]
    for block in section.blocks:
        lines += _floats(block)
    if section.notes:
        items = [rf"\item {_escape_latex(note)}" for note in section.notes]
        lines += ["", r"\begin{itemize}", *items, r"\end{itemize}"]
    return "\n".join([*lines, r"\par\endgroup"]) + "\n"


def _floats(block: Block) -> list[str]:
    """The floats of a grid: as many as fit its columns and rows to a page."""
    grid = [block.header, *block.rows]
    lengths = [max(len(row[i]) for row in grid) + 2 for i in range(len(block.header))]
    parts = [
        (columns, range(first, min(first + _TEX_ROWS, len(block.rows))))
        for columns in pages(lengths, block.fixed, _TEX_WIDTH)
        for first in range(0, max(len(block.rows), 1), _TEX_ROWS)
    ]
    lines = []
    for number, (columns, rows) in enumerate(parts, 1):
        heading = block.heading + (f" ({number} of {len(parts)})" if len(parts) > 1 else "")
        lines += ["", r"\begin{table}[htbp]", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}"]
        lines += [rf"\caption{{{_escape_latex(heading)}}}", *_tabular(block, columns, rows)]
        if block.legend and number == len(parts):
            lines.append(rf"\par\smallskip {_escape_latex(block.legend)}")
        lines.append(r"\end{table}")
    return lines


def _tabular(block: Block, columns: list[int], rows: range) -> list[str]:
    """Some columns and rows of a grid."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule"]
    # Braces, because LaTeX reads a cell that begins with a bracket as the argument of \\.
    names = [f"{{{_escape_latex(block.header[i])}}}" for i in columns]
    lines += [" & ".join(names) + r" \\", r"\midrule"]
    for number in rows:
        row = block.rows[number]
        lines += [r"\midrule"] if number in block.rules and number > rows.start else []
        texts = [
            rf"\textbf{{{_escape_latex(row[i])}}}"
            if (number, i) in block.bold
            else f"{{{_escape_latex(row[i])}}}"
            if row[i].startswith("[")
            else _escape_latex(row[i])
            for i in columns
        ]
        lines.append(" & ".join(texts) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in printable(text))
