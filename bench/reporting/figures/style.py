"""The style of all figures of a report, and the files of a figure.

Each figure is drawn once with fixed colours and written as PNG, SVG and the CSV of its data. In the
page, CSS variables replace these colours and no others, so one drawing serves light mode, dark mode
and print; two drawings would double the size of the page and the time. Text stays text, so it can
be read aloud, searched and copied. Names never reach a formula parser. The ids of an SVG start with
the name of the figure, because two figures on one page must not share an id.
"""

from __future__ import annotations

import dataclasses
import html
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.reporting.formatting import csv_value, printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, FAINT, PAPER = "#1d1d22", "#9b9ba3", "#fefefe"
SERIES = ("#0072b2", "#c44a00", "#007a5a", "#a8478a", "#8a6500", "#5b5bd6")
"""Distinct with any colour vision (after Okabe & Ito 2008), darkened to a contrast of 4.5:1 on
white."""
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {INK: "--ink", FAINT: "--faint", PAPER: "--paper"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES, 1)
}
LETTER_INCHES = 0.068
"""Width of an average letter of a label, rounded up."""
MAX_LABEL_LENGTH = 26
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titley": 1.0,  # fixed, because searching for free space takes time at each drawing
    "axes.labelsize": 8.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "bench",
}
_DOTS_PER_INCH = 300


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """A drawing with its texts and its data."""

    name: str
    """Stem of its file names."""
    title: str
    caption: str
    """How to read the figure, and which data it omits."""
    alt: str
    """The content in words, for screen readers."""
    csv: str
    """The data of the drawing."""
    svg: str
    png: bytes
    pdf: bytes = b""

    def inline(self) -> str:
        """The SVG for a page: colours of the page, ids unique on the page, no fixed size."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
        drawing = re.sub(r' id="', f' id="{self.name}-', drawing)
        drawing = re.sub(r'(xlink:href="#|url\(#)', rf"\1{self.name}-", drawing)
        for color, variable in VARIABLES.items():
            drawing = drawing.replace(color, f"var({variable})")
        width = float(re.search(r'width="([\d.]+)pt"', drawing)[1])  # type: ignore[index]
        description = html.escape(f"{self.title}. {self.alt}")
        opening = f'<svg role="img" aria-label="{description}" style="width: {width / 72:.2f}in" '
        drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", drawing, count=1)
        return drawing.replace("<svg ", opening, 1)


Drawing = Callable[[], Figure | None]
"""Draws a figure when it is called; it can be pickled."""


@contextmanager
def style_context() -> Iterator[None]:
    """Use the style of all figures, and ignore warnings about letters that the font lacks."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def to_figure(
    canvas: Canvas, name: str, title: str, caption: str, alt: str, data: pd.DataFrame
) -> Figure:
    """Write a drawing to memory. The same data give the same bytes."""
    svg, png, pdf = io.StringIO(), io.BytesIO(), io.BytesIO()
    canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    canvas.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    canvas.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Producer": None})
    files = svg.getvalue(), png.getvalue(), pdf.getvalue()
    return Figure(name, title, caption, alt, csv_of(data), *files)


def csv_of(data: pd.DataFrame) -> str:
    """The data of a figure as CSV. A name that a spreadsheet would run as a formula is quoted."""
    plain = data.copy()
    for name in plain.columns:
        if plain[name].dtype.kind not in "biuf":
            cells = {value: csv_value(value) for value in plain[name].unique()}
            plain[name] = plain[name].map(cells)
    return str(plain.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def make_panels(
    count: int,
    columns: int,
    size: tuple[float, float],
    left: float,
    gap: tuple[float, float] = (0.3, 0.72),
    margins: tuple[float, float] = (0.35, 0.55),
) -> tuple[Canvas, list[Axes]]:
    """Make a grid of axes. All sizes are in inches.

    The axes are placed explicitly, because automatic layout takes seconds for dozens of axes.

    Args:
        count: Number of axes.
        columns: Maximum number of axes in a row.
        size: Width and height of each.
        left: Width of the labels at the left of a row.
        gap: Space between columns, and space between rows.
        margins: Space above the first row, and space below the last.
    """
    from matplotlib.figure import Figure as Canvas

    columns = max(1, min(columns, count))
    rows = math.ceil(count / columns)
    width = left + columns * size[0] + (columns - 1) * gap[0] + 0.15
    height = sum(margins) + rows * size[1] + (rows - 1) * gap[1]
    canvas = Canvas(figsize=(width, height))
    axes = []
    for index in range(count):
        row, column = divmod(index, columns)
        x = left + column * (size[0] + gap[0])
        y = height - margins[0] - size[1] - row * (size[1] + gap[1])
        box = (x / width, y / height, size[0] / width, size[1] / height)
        axes.append(canvas.add_axes(box))
    return canvas, axes


def draw_lines(ax: Axes, x: Any, y: Any, **line_style: Any) -> None:
    """Draw straight lines as one path, because a page has thousands of lines.

    Args:
        ax: The axes.
        x: Start and end of each line, of shape [2, lines] after broadcasting with `y`.
        y: As `x`.
        line_style: Passed to matplotlib.
    """
    import numpy as np

    ends = np.broadcast_arrays(*(np.atleast_2d(np.asarray(axis, dtype=float)) for axis in (x, y)))
    paths = [np.vstack([axis, np.full(axis.shape[1], np.nan)]).T.ravel() for axis in ends]
    ax.plot(*paths, solid_capstyle="butt", **line_style)


def name_rows(ax: Axes, names: Sequence[str], first: float) -> None:
    """Write names at the left of rows one unit apart.

    The names are texts, because each tick label would cost five drawing operations.
    """
    align: Any = {"ha": "right", "va": "center_baseline"}
    where = ax.get_yaxis_transform() + _inches(ax, -0.05, 0.0)
    for index, name in enumerate(names):
        ax.text(0.0, first + index, name, transform=where, size=_STYLE["ytick.labelsize"], **align)


def name_columns(ax: Axes, names: Sequence[str], first: float) -> None:
    """Write names above columns one unit apart, as texts (see `name_rows`)."""
    align: Any = {"ha": "left", "rotation": 60, "rotation_mode": "anchor"}
    where = ax.get_xaxis_transform() + _inches(ax, 0.0, 0.05)
    for index, name in enumerate(names):
        ax.text(first + index, 1.0, name, transform=where, size=_STYLE["xtick.labelsize"], **align)


def _inches(ax: Axes, right: float, up: float) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right, up, ax.figure.dpi_scale_trans)


def short_text(text: str, max_length: int = MAX_LABEL_LENGTH) -> str:
    """A name for a figure: printable, on one line, and shortened in the middle if it is long."""
    clean = printable(text)
    if len(clean) > max_length:
        half = (max_length - 1) // 2
        clean = f"{clean[: max_length - 1 - half]}\u2026{clean[-half:]}"
    # matplotlib omits a name such as _this from legends.
    return f" {clean}" if clean.startswith("_") else clean


def label_inches(names: Sequence[str]) -> float:
    """Width of the labels at the left of a figure."""
    return 0.3 + LETTER_INCHES * max((len(short_text(name)) for name in names), default=0)


def axis_limits(means: Any, lows: Any, highs: Any) -> tuple[float, float]:
    """Limits of an axis that show all means, and 1.2 times their range on either side at most.

    With two seeds an interval can be ten times as wide as the range of the means. Such an interval
    is cut off at the edge, and the caption says so.
    """
    low, high = float(min(means, default=0.0)), float(max(means, default=1.0))
    room = 1.2 * (high - low) or 0.1 * abs(high) or 1.0
    lowest, highest = float(min(lows, default=low)), float(max(highs, default=high))
    pad = 0.04 * (high - low + 2 * room)
    return max(lowest, low - room) - pad, min(highest, high + room) + pad


def add_legend(canvas: Canvas, handles: Sequence[Any], columns: int = 4) -> None:
    """Add one legend for all panels, below them."""
    canvas.legend(
        handles=list(handles), loc="lower left", ncols=columns, bbox_to_anchor=(0.0, 0.0),
        borderaxespad=0.3, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip
