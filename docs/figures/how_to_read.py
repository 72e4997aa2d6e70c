"""Draws the figures of statistics.md, from the reference records.

    python docs/figures/how_to_read.py

`how_to_read.svg`: one column of the table (`sense_right` of results/reference/micro) as scores and
as differences. Two intervals may overlap although their paired difference excludes zero, and an
interval that includes zero is no proof of equality. `moderation.svg`: one column of
results/reference/real (`obj_number`, three seeds) with the spread between the seeds of each
objective by itself and moderated, and the intervals that follow from both.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import bench

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parents[1] / "results" / "reference"
COLUMN, BASELINE = "sense_right", "untrained"
MODERATED_COLUMN = "obj_number"
ROWS = ("biphasic", "token", "span", "causal", "untrained")
INK, FAINT, BLUE, ORANGE = "#222222", "#8a8a8a", "#0b6fa4", "#c4601d"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "bench",
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip


def table(name: str, column: str, intervals: str = "moderated") -> Any:
    """The table of some reference records."""
    records = REFERENCE / name / "records.zip"
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(records) as archive:
        archive.extractall(folder)
        comparison = bench.compare(out=folder, baseline=BASELINE, intervals=intervals)
        (only,) = comparison.tables
        _ = only.cells, only.pairs(column)  # read the outcomes while the records exist
        return only


def how_to_read() -> Any:
    """Scores on the left, paired differences to the baseline on the right."""
    data = table("micro", COLUMN)
    canvas, (left, right) = plt.subplots(
        1, 2, figsize=(8.2, 3.1), sharey=True, width_ratios=(1.25, 1), layout="constrained"
    )
    for place, name in enumerate(ROWS):
        cell = data.cells[name, COLUMN]
        low, high = 100 * cell.interval.low, 100 * cell.interval.high
        left.plot([low, high], [place, place], color=BLUE, linewidth=5, alpha=0.35,
                  solid_capstyle="butt")  # fmt: skip
        left.plot(100 * cell.sample.values, [place] * len(cell.sample.values), "o",
                  color=BLUE, markersize=3.5, markerfacecolor="white")  # fmt: skip
        left.plot(100 * cell.interval.mean, place, "|", color=INK, markersize=14)
        gap = data.difference(name, BASELINE, COLUMN)
        if name == BASELINE:
            right.text(0, place, " the baseline", color=FAINT, va="center")
            continue
        color = ORANGE if gap.is_significant else FAINT
        right.plot([100 * gap.low, 100 * gap.high], [place, place], color=color, linewidth=5,
                   alpha=0.55, solid_capstyle="butt")  # fmt: skip
        right.plot(100 * gap.mean, place, "|", color=INK, markersize=14)
        text = f"{100 * gap.mean:+.1f} ±{100 * gap.half_width:.1f}"
        mark = " **" if data.tests[name, COLUMN][1] else " *" if gap.is_significant else ""
        right.text(52, place, text + mark, va="center", ha="left")
    _finish(left, right, data)
    return canvas


def _finish(left: Any, right: Any, data: Any) -> None:
    chance = next(100 * column.chance for column in data.columns if column.name == COLUMN)
    bag = 100 * data.cells["bag_of_words", COLUMN].interval.mean
    for level, text, style in ((chance, "chance", ":"), (bag, "bag of words", "--")):
        left.axvline(level, color=FAINT, linestyle=style, linewidth=1)
        side = "left" if level == chance else "right"
        left.text(level, -0.75, f" {text} ", color=FAINT, ha=side, fontsize=8)
    left.set(yticks=range(len(ROWS)), yticklabels=ROWS, ylim=(len(ROWS) - 0.5, -1.0),
             xlabel=f"{COLUMN}: accuracy x 100", xlim=(35, 100))  # fmt: skip
    left.set_title("Score: circles are seeds, bars 95 % intervals", loc="left", fontsize=9)
    right.axvline(0, color=INK, linewidth=0.8)
    right.set(xlabel=f"difference to {BASELINE}, paired", xlim=(-12, 74))
    right.set_xticks([0, 20, 40])
    right.set_title("Paired difference", loc="left", fontsize=9)
    right.tick_params(left=False)
    right.spines["left"].set_visible(False)


def moderation() -> Any:
    """Spreads between seeds on the left, paired differences to the baseline on the right."""
    own, moderated = (table("real", MODERATED_COLUMN, kind) for kind in ("own", "moderated"))
    canvas, (left, right) = plt.subplots(
        1, 2, figsize=(8.2, 2.9), sharey=True, width_ratios=(1, 1.25), layout="constrained"
    )
    rows = [row for row in own.rows if row.kind != "baseline"]
    for place, row in enumerate(rows):
        spreads = [
            100 * (len(row.finished) * one.variance_of_mean(MODERATED_COLUMN, row)) ** 0.5
            for one in (own, moderated)
        ]
        left.plot(spreads, [place, place], color=BLUE, linewidth=1)
        left.plot(spreads[0], place, "o", color=FAINT, markersize=6, markerfacecolor="white")
        left.plot(spreads[1], place, "o", color=BLUE, markersize=5)
        if row.name == BASELINE:
            right.text(0, place, " the baseline", color=FAINT, va="center")
            continue
        for one, color, width in ((own, FAINT, 2), (moderated, BLUE, 6)):
            gap = one.difference(row.name, BASELINE, MODERATED_COLUMN)
            ends = [100 * gap.low, 100 * gap.high]
            right.plot(ends, [place, place], color=color, linewidth=width, alpha=0.6,
                       solid_capstyle="butt")  # fmt: skip
        right.plot(100 * gap.mean, place, "|", color=INK, markersize=12)
    left.set(yticks=range(len(rows)), yticklabels=[row.name for row in rows],
             ylim=(len(rows) - 0.5, -0.6), xlabel="points", xlim=(0, None))  # fmt: skip
    left.set_title("Spread: own (open), moderated (blue)", loc="left", fontsize=9)
    right.axvline(0, color=INK, linewidth=0.8)
    right.set(xlabel=f"{MODERATED_COLUMN}, accuracy x 100: difference to {BASELINE}")
    right.set_title("95 % interval: own (line), moderated (bar)", loc="left", fontsize=9)
    right.tick_params(left=False)
    right.spines["left"].set_visible(False)
    return canvas


FIGURES = {"how_to_read.svg": how_to_read, "moderation.svg": moderation}


def save(name: str, path: Path) -> None:
    """Draw a figure into a file; the same records give the same bytes."""
    with plt.rc_context(STYLE):
        FIGURES[name]().savefig(path, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    for name in FIGURES:
        save(name, HERE / name)
