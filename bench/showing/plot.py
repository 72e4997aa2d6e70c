"""A plot of the realised statistics: position profile and lengths of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, FailedError
from bench.showing.corruption_statistics import BINS

if TYPE_CHECKING:
    from bench.showing.corruption_statistics import CorruptionStatistics

FORMATS = (".png", ".svg", ".pdf")
_LONGEST_RUN = 20


def check_figure(path: Path) -> None:
    """Check the path of the figure before anything is computed.

    Raises:
        BenchError: Another file ending, or the folder does not exist.
    """
    if path.suffix.lower() not in FORMATS:
        raise BenchError(f"--figure {path}: the file must end in one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise BenchError(f"--figure {path}: the folder {path.parent.resolve()} does not exist")


def draw(statistics: CorruptionStatistics, title: str, path: Path) -> None:
    """Draw and write the figure.

    Raises:
        FailedError: The file cannot be written.
    """
    import matplotlib
    import seaborn as sns
    from matplotlib.figure import Figure

    with sns.axes_style("whitegrid"), matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        places, lengths = figure.subplots(1, 2)
        tenths = [(tenth + 0.5) * 100 / BINS for tenth in range(BINS)]
        for name, dashes in (("corrupted", "-"), ("predicted", "--")):  # the lines can be equal
            shares = [100 * share for share in statistics.profile[name]]
            sns.lineplot(x=tenths, y=shares, linestyle=dashes, marker=".", label=name, ax=places)
        places.set(xlabel="position in a row, %", ylabel="tokens, %", xlim=(0, 100))
        places.set_ylim(0, 105 * max(0.05, *map(max, statistics.profile.values())))
        for unit, counts in (("words", statistics.run_words), ("tokens", statistics.run_tokens)):
            shares = [100 * count / sum(counts) for count in counts[:_LONGEST_RUN]]
            if shares:
                at = list(range(1, len(shares) + 1))
                sns.lineplot(x=at, y=shares, marker=".", label=f"in {unit}", ax=lengths)
        if not statistics.run_tokens:
            lengths.text(0.5, 0.5, "no token is chosen", transform=lengths.transAxes, ha="center")
        lengths.set(xlabel="length of a run", ylabel="runs, %")
        lengths.set_ylim(bottom=0)
        figure.suptitle(title)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise FailedError(f"--figure {path} cannot be written ({error.strerror})") from None
