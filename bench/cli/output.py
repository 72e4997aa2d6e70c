"""Results on the terminal, no wider than it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from bench.cli.record_options import Format
    from bench.reporting.comparison import Comparison


def print_comparison(
    comparison: Comparison, format: Format, only: Sequence[str] = (), transpose: bool = False
) -> None:
    """Print in a format, no wider than the terminal."""
    from bench.reporting.text import render

    text = render(comparison, format, stdout_width(), sys.stdout.isatty(), only, transpose)
    sys.stdout.write(text)
    sys.stdout.flush()


def name_damaged(comparison: Comparison) -> int:
    """Name the damaged records that were left out, and return the exit code: 4, or 0 for none."""
    from bench.engines.progress import log

    for sentence in comparison.damaged:
        log(f"left out: {sentence}")
    return 4 if comparison.damaged else 0


def print_lines(lines: Iterable[Text]) -> None:
    """Print styled lines, in colour on a terminal that supports it."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def stdout_width() -> int:
    """Columns of the terminal; 100 where the output goes elsewhere."""
    from rich.console import Console

    return Console(file=sys.stdout).width if sys.stdout.isatty() else 100
