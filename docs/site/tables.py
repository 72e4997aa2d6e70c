"""The generated part of objectives.md: every objective with its settings.

    python docs/site/tables.py          write it between the marks of objectives.md

A test compares the page with the installed objectives.
"""

from __future__ import annotations

import re
from pathlib import Path

from bench.registry import Registry
from bench.settings import knobs

PAGE = Path(__file__).resolve().parents[1] / "objectives.md"


def objectives() -> str:
    """A section for each objective: summary, source, file, settings."""
    sections = []
    for name, cls in Registry().of("objective").items():
        if not cls.__module__.startswith("bench.objectives."):
            continue  # installed by somebody else
        lines = [
            f"### `{name}`",
            "",
            f"{cls.summary[0].upper()}{cls.summary[1:]}. Source: {cls.source}. "
            f"File: [`objectives/{name}.py`](../objectives/{name}.py).",
        ]
        rows = [
            f"| `{knob.name}` | {cell(knob.kind)} | `{cell(str(knob.default))}` | "
            f"{cell(knob.help)} |"
            for knob in knobs(cls)
        ]
        if rows:
            lines += ["", "| Setting | Values | Default | Meaning |", "| --- | --- | --- | --- |"]
            lines += rows
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def cell(text: str) -> str:
    """Text that does not end a cell of a Markdown table."""
    return text.replace("|", "\\|")


def with_tables(page: str) -> str:
    """The page with the sections between its marks."""
    marks = r"(<!-- objectives: made by `make docs` -->\n).*?(<!-- end of objectives -->)"
    return re.sub(marks, lambda m: f"{m[1]}\n{objectives()}\n\n{m[2]}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
