"""Figures of what training and probing saw: validation loss over tokens, and scores by layer.

Losses of unlike objectives are not comparable (rule 6 of comparison), so each has a panel to itself
with the two references that make it readable: what knows nothing scores, log |V|, and what knows
only how frequent each token is. Lines are matplotlib's: seaborn's own prepare statistics that are
not wanted here, and are most of the time that dozens of panels take.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bench.reporting import figures
from bench.reporting.comparison import big_number
from bench.reporting.figures import FAINT, MARKERS, SERIES, Figure, label
from bench.reporting.phrases import listing

if TYPE_CHECKING:
    import pandas as pd

    from bench.reporting.entries import Table
    from bench.reporting.records import RunRecord

MOST_CURVES = 20
"""Panels of the training curves; of more objectives the first `SOME`, since a page that cannot show
all of them had better be quick."""
MOST_LAYERED = 8
"""Panels of the layer profiles; of more tasks the first `SOME`."""
SOME = 4
MOST_LINES = 6
"""Lines of a panel: as many as there are colours with markers."""
_MOST_BYTES = 1 << 26


def curves(table: Table, name: str = "curves") -> Figure | None:
    """Validation loss over tokens, a panel an objective; None where no run has any."""
    import pandas as pd

    entries = [e for e in table.entries if e.kind == "trained" and e.attention == "native"]
    shown = entries if len(entries) <= MOST_CURVES else entries[:SOME]
    frames = [
        frame.assign(label=entry.name, seed=run.data["seed"])
        for entry in shown
        for run in entry.runs
        if (frame := _curve(run)) is not None
    ]
    if not frames:
        return None
    data = pd.concat(frames, ignore_index=True)
    shown = [entry for entry in shown if (data["label"] == entry.name).any()]
    with figures.style():
        canvas = _draw_curves([e.name for e in shown], data, _references(table))
        caption = (
            "One line a seed, on held-out text. Each objective is asked something else, so each "
            "panel has its own scale, and a lower line in one than in another ranks nobody. "
            "Dashed: log |V|, what guessing scores; dotted: what knowing each token's frequency "
            "scores; a sum of several losses, as replaced_token's, is not on their scale."
        )
        if len(shown) < len(entries):
            caption += f" The first {len(shown)} of {len(entries)} objectives."
        last = data.sort_values("tokens").groupby(["label", "seed"])["validation_nats"].last()
        alt = "Training curves, not comparable with each other. Last validation loss in nats: "
        alt += listing(
            [f"{label(e.name)} {last[e.name].mean():.2f}" for e in shown if e.name in last], 12
        )
        columns = ["label", "seed", "tokens", "validation_nats"]
        return figures.finish(
            canvas, name, "Validation loss while training", caption, alt + ".", data[columns]
        )


def _curve(run: RunRecord) -> pd.DataFrame | None:
    """Tokens and validation loss, if the run has them; a damaged file is no reason to fail."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / "curve.parquet"
    columns = ["tokens", "validation_nats"]
    try:
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            return None
        found = pq.ParquetFile(path).read(columns, use_threads=False).to_pydict()
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None
    if set(found) != {*columns}:
        return None
    pairs = [pair for pair in zip(*found.values(), strict=True) if all(map(_is_number, pair))]
    return pd.DataFrame(pairs, columns=columns) if pairs else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _references(table: Table) -> dict[str, float]:
    """Losses of what knows nothing and of what knows frequencies."""
    for entry in table.entries:
        for run in entry.runs:
            found = run.data.get("reference_nats")
            if isinstance(found, dict):
                return {k: float(v) for k, v in found.items() if isinstance(v, int | float)}
    return {}


def _draw_curves(names: list[str], data: pd.DataFrame, references: dict[str, float]) -> Any:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = "tokens", "validation_nats"
    canvas, axes = figures.panels(len(names), 4, (1.75, 1.35), 0.55, (0.35, 0.7))
    for index, (entry, ax) in enumerate(zip(names, axes, strict=True)):
        own = data[data["label"] == entry]
        everything = [*own["validation_nats"], *references.values()]
        low, high = min(everything), max(everything)
        room = 0.06 * (high - low or 1.0)
        for key, dash in (("log_vocabulary", (0, (4, 2))), ("unigram", (0, (1, 1.5)))):
            if key in references:
                ax.axhline(references[key], color=FAINT, linestyle=dash, linewidth=1)
        seeds = [line for _, line in own.groupby("seed")]
        path = [np.concatenate([np.append(line[key], np.nan) for line in seeds]) for key in axis]
        ax.plot(*path, color=SERIES[0], linewidth=1.1, alpha=0.8)
        ax.set(ylim=(low - room, high + room), xlabel="tokens", ylabel="")
        ax.set_title(label(entry, 28), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: big_number(value)))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        if index % 4 == 0:
            ax.set_ylabel("nats")
    return canvas


def layers(table: Table, name: str = "layers") -> Figure | None:
    """What each layer scored when the probe chose among them; None where no probe did."""
    data = layer_scores(table)
    if data.empty:
        return None
    columns = [c.name for c in table.columns if (data["column"] == c.name).any()]
    entries = [e.name for e in table.entries if (data["label"] == e.name).any()]
    shown = entries if len(entries) <= MOST_LINES else _leaders(table, data)
    asked = columns if len(columns) <= MOST_LAYERED else columns[:SOME]
    with figures.style():
        canvas = _draw_layers(data, shown, asked)
        caption = (
            "Layer 0: embeddings. Screening by least squares on the dev part of the training "
            "split, best pooling of each layer, mean over seeds, by which the layer is chosen "
            "before the reported split is read; so not the reported score."
        )
        if len(shown) < len(entries) or len(asked) < len(columns):
            caption += (
                f" {len(shown)} of {len(entries)} rows, those that rank highest, and {len(asked)} "
                f"of {len(columns)} tasks; all are in {name}.csv."
            )
        best = data.loc[data.groupby(["label", "column"])["score"].idxmax()]
        layer = best.groupby("label")["layer"].median()
        alt = "Scores by layer. The best layer, median over tasks: "
        alt += listing([f"{label(n)} {layer[n]:g}" for n in shown], 12) + "."
        return figures.finish(canvas, name, "Scores by layer", caption, alt, data)


def _leaders(table: Table, data: pd.DataFrame) -> list[str]:
    """As many rows as there are lines, by mean rank of their best layers; one is the control."""
    best = data.groupby(["column", "label"])["score"].max().unstack()
    ranked = best.rank(axis=1, ascending=False).mean().sort_values(kind="stable").index
    controls = [e.name for e in table.entries if e.kind == "untrained" and e.name in ranked][:1]
    first = [name for name in ranked if name not in controls][: MOST_LINES - len(controls)]
    return [entry.name for entry in table.entries if entry.name in {*first, *controls}]


def layer_scores(table: Table) -> pd.DataFrame:
    """label, column, criterion, layer, score: means over seeds of each layer's best pooling."""
    import pandas as pd

    columns = {column.variant: column.name for column in table.columns}
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for entry in table.entries:
        for score in (score for run in entry.finished for score in run.scores):
            if score.variant in columns and score.data["attention"] == entry.attention:
                details = score.data["details"]
                key = entry.name, columns[score.variant], str(details.get("criterion", "score"))
                found.setdefault(key, []).append(_best_poolings(details.get("grid")))
    rows = [
        (*key, layer, sum(values) / len(values))
        for key, seeds in found.items()
        for layer, values in enumerate(zip(*(best for best in seeds if best), strict=False))
    ]
    return pd.DataFrame(rows, columns=["label", "column", "criterion", "layer", "score"])


def _best_poolings(grid: Any) -> list[float]:
    """The best of each row of a grid [layer][pooling]; nothing if it is not one."""
    try:
        return [float(max(row)) for row in grid]
    except (TypeError, ValueError):
        return []


def _draw_layers(data: pd.DataFrame, shown: list[str], asked: list[str]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    look = dict(zip(shown, zip(SERIES, MARKERS, strict=True), strict=False))
    lines = -(-len(shown) // 4)
    margins = (0.35, 0.62 + 0.19 * lines)
    canvas, axes = figures.panels(len(asked), 4, (1.75, 1.4), 0.55, (0.42, 0.72), margins)
    for index, (column, ax) in enumerate(zip(asked, axes, strict=True)):
        own = data[(data["column"] == column) & data["label"].isin(shown)]
        for entry, (color, marker) in look.items():
            line = own[own["label"] == entry]
            ax.plot(
                line["layer"], line["score"] * 100, color=color, marker=marker, markersize=4.5,
                markeredgewidth=0, linewidth=1.1,
            )  # fmt: skip
        criterion = own["criterion"].iloc[0] if len(own) else ""
        ax.set(xlabel=f"layer ({label(str(criterion), 14)})")
        ax.set_ylabel("dev score x 100" if index % 4 == 0 else "")
        ax.set_title(label(column, 28), loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
    handles = [
        Line2D([], [], color=c, marker=m, markersize=4.5, linewidth=1.1, label=label(entry))
        for entry, (c, m) in look.items()
    ]
    figures.legend_below(canvas, handles)
    return canvas
