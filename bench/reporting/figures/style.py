"""How a figure of a report is made: one look for all, and the files that come of it.

Each is drawn once with fixed colours and written as PNG, SVG and the CSV it was drawn from. For the
page those colours, and only they, are exchanged for the page's CSS variables, so that one drawing
serves light, dark and print; two renderings would double the page and the time. Text stays text (to
be read aloud, found and copied), names never reach a formula parser, and ids carry the figure's
name, because two figures of one page must not share them.
"""

from __future__ import annotations

import dataclasses
import html
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.reporting.formatting import csv_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, FAINT, PAPER = "#1d1d22", "#9b9ba3", "#fefefe"
SERIES = ("#0072b2", "#c44a00", "#007a5a", "#a8478a", "#8a6500", "#5b5bd6")
"""Told apart with any colour vision (after Okabe & Ito 2008), darkened to 4.5:1 on white."""
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {INK: "--ink", FAINT: "--faint", PAPER: "--paper"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES, 1)
}
LETTER_INCHES = 0.068
"""Of a label's average letter, on the wide side."""
LONGEST_LABEL = 26
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titley": 1.0,  # given, so that no drawing has to look for room
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
    "svg.hashsalt": "bench",
}
_DOTS_PER_INCH = 110


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """A drawing with what it says in words and the numbers it was drawn from."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    """How to read it, and what it leaves out."""
    alt: str
    """What it shows, for whoever does not see it."""
    csv: str
    """The numbers it was drawn from."""
    svg: str
    png: bytes

    def inline(self) -> str:
        """The SVG as it stands in a page: the page's colours, ids of its own, no fixed size."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
        drawing = re.sub(r' id="', f' id="{self.name}-', drawing)
        drawing = re.sub(r'(xlink:href="#|url\(#)', rf"\1{self.name}-", drawing)
        for color, variable in VARIABLES.items():
            drawing = drawing.replace(color, f"var({variable})")
        width = float(re.search(r'width="([\d.]+)pt"', drawing)[1])  # type: ignore[index]
        spoken = html.escape(f"{self.title}. {self.alt}")
        opening = f'<svg role="img" aria-label="{spoken}" style="width: {width / 72:.2f}in" '
        drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", drawing, count=1)
        return drawing.replace("<svg ", opening, 1)


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures; letters that the font lacks are no reason to complain."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        yield


def finish(
    canvas: Canvas, name: str, title: str, caption: str, alt: str, data: pd.DataFrame
) -> Figure:
    """Write a drawing to memory: the same bytes for the same data."""
    svg, png = io.StringIO(), io.BytesIO()
    canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    canvas.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return Figure(name, title, caption, alt, csv_of(data), svg.getvalue(), png.getvalue())


def csv_of(data: pd.DataFrame) -> str:
    """The numbers of a figure; a name that a spreadsheet would take for a formula is quoted."""
    plain = data.copy()
    for name in plain.columns:
        if plain[name].dtype.kind not in "biuf":
            cells = {value: csv_value(value) for value in plain[name].unique()}
            plain[name] = plain[name].map(cells)
    return str(plain.to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def panels(
    count: int,
    columns: int,
    size: tuple[float, float],
    left: float,
    gap: tuple[float, float] = (0.3, 0.72),
    margins: tuple[float, float] = (0.35, 0.55),
) -> tuple[Canvas, list[Axes]]:
    """Axes in rows, placed in inches: automatic layout takes seconds for dozens of them.

    Args:
        count: How many.
        columns: In a row, at most.
        size: Width and height of one.
        left: Room for labels at the left of a row.
        gap: Between columns and rows.
        margins: Above all and below all.
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


def strokes(ax: Axes, x: Any, y: Any, **look: Any) -> None:
    """Straight lines, all of them one path, as a page has thousands: x and y are [ends, lines]."""
    import numpy as np

    ends = np.broadcast_arrays(*(np.atleast_2d(np.asarray(one, dtype=float)) for one in (x, y)))
    apart = [np.vstack([one, np.full(one.shape[1], np.nan)]).T.ravel() for one in ends]
    ax.plot(*apart, solid_capstyle="butt", **look)


def name_rows(ax: Axes, names: Sequence[str], first: float) -> None:
    """Names at the left of rows a unit apart: texts, as each tick would be five drawings."""
    look: Any = {"ha": "right", "va": "center_baseline"}
    where = ax.get_yaxis_transform() + _inches(ax, -0.05, 0.0)
    for place, name in enumerate(names):
        ax.text(0.0, first + place, name, transform=where, size=_STYLE["ytick.labelsize"], **look)


def name_columns(ax: Axes, names: Sequence[str], first: float) -> None:
    """Names above columns a unit apart, as `name_rows`."""
    look: Any = {"ha": "left", "rotation": 60, "rotation_mode": "anchor"}
    where = ax.get_xaxis_transform() + _inches(ax, 0.0, 0.05)
    for place, name in enumerate(names):
        ax.text(first + place, 1.0, name, transform=where, size=_STYLE["xtick.labelsize"], **look)


def _inches(ax: Axes, right: float, up: float) -> Any:
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right, up, ax.figure.dpi_scale_trans)


def short_text(text: str, longest: int = LONGEST_LABEL) -> str:
    """A name as a figure shows it: printable, on one line, cut in its middle where it is long."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    if len(clean) > longest:
        half = (longest - 1) // 2
        clean = f"{clean[: longest - 1 - half]}\u2026{clean[-half:]}"
    return f" {clean}" if clean.startswith("_") else clean  # legends leave out names like _this


def room_for(names: Sequence[str]) -> float:
    """Inches that labels need at the left."""
    return 0.3 + LETTER_INCHES * max((len(short_text(name)) for name in names), default=0)


def view(means: Any, lows: Any, highs: Any) -> tuple[float, float]:
    """Ends of an axis: all means, and of the intervals as much as does not flatten them.

    With two seeds an interval may be ten times as wide as everything there is to see; it is cut
    at the edge, and the caption says so.
    """
    low, high = float(min(means, default=0.0)), float(max(means, default=1.0))
    room = 1.2 * (high - low) or 0.1 * abs(high) or 1.0
    lowest, highest = float(min(lows, default=low)), float(max(highs, default=high))
    pad = 0.04 * (high - low + 2 * room)
    return max(lowest, low - room) - pad, min(highest, high + room) + pad


def legend_below(canvas: Canvas, handles: Sequence[Any], columns: int = 4) -> None:
    """One legend for all panels, under them."""
    canvas.legend(
        handles=list(handles), loc="lower left", ncols=columns, bbox_to_anchor=(0.0, 0.0),
        borderaxespad=0.3, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip
