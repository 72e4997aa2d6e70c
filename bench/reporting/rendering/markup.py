"""A section as Markdown and as LaTeX. All names are escaped, as they may come from other people."""

from __future__ import annotations

import html
import re

from bench.reporting.formatting import printable
from bench.reporting.rendering.sections import COMMAND, TextSection


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
    '"': r"\textquotedbl{}", "*": r"$^{*}$",
}  # fmt: skip


def latex(section: TextSection) -> str:
    """A section with a `booktabs` tabular for each grid."""
    lines = [rf"\paragraph{{{_escape_latex(section.title)}}}"]
    for sentence in section.verdict:
        text = _escape_latex(sentence)
        is_command = sentence.startswith(COMMAND)
        lines.append(rf"\texttt{{{text.strip()}}}\par" if is_command else rf"{text}\par")
    lines += [rf"\emph{{{_escape_latex(warning)}}}\par" for warning in section.warnings]
    for block in section.blocks:
        lines += ["", rf"\noindent {_escape_latex(block.heading)}\par"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(block.header) - 1)}}}", r"\toprule"]
        # Braces, because LaTeX reads a cell that begins with a bracket as the argument of \\.
        names = [f"{{{_escape_latex(name)}}}" for name in block.header]
        lines += [" & ".join(names) + r" \\", r"\midrule"]
        for number, row in enumerate(block.rows):
            lines += [r"\midrule"] if number in block.rules else []
            texts = [
                rf"\textbf{{{_escape_latex(text)}}}"
                if (number, i) in block.bold
                else _escape_latex(text)
                for i, text in enumerate(row)
            ]
            lines.append(" & ".join(texts) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}\par"]
        lines += [_escape_latex(block.legend)] if block.legend else []
    if section.notes:
        items = [rf"\item {_escape_latex(note)}" for note in section.notes]
        lines += ["", r"\begin{itemize}", *items, r"\end{itemize}"]
    return "\n".join(lines) + "\n"


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in printable(text))
