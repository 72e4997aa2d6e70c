"""The statistics of an objective's corruption as lines of text: realised and nominal values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.showing.corruption_statistics import BINS

if TYPE_CHECKING:
    from bench.showing.corruption_statistics import CorruptionStatistics

_BAR = 20
_LONGEST_RUN = 10
_SHARES = {
    "words": "words with a chosen token",
    "moved": "tokens moved",
    "inserted": "tokens inserted per token",
}
_TREATMENTS = {
    "mask": "the mask",
    "random": "another token",
    "kept": "the same token",
    "removed": "nothing",
}


def count_lines(statistics: CorruptionStatistics, sample: str) -> Iterator[str]:
    """Shares, treatment, runs, cut words and position profile, realised and nominal.

    Args:
        statistics: The statistics.
        sample: Description of the rows that they were computed over.
    """
    yield f"statistics over {sample}"
    yield f"{'':<28}{'realised':>10}{'nominal':>10}"
    for name in ("corrupted", "predicted"):
        low, high = statistics.row_ranges[name]
        rows = f"   by row: {low:.1%} to {high:.1%}" if high > low else ""
        line = _line(f"tokens {name}", statistics.shares[name], statistics.nominal.get(name))
        yield f"{line:<48}{rows}".rstrip()
    for name, text in _SHARES.items():
        if statistics.shares[name]:
            yield _line(text, statistics.shares[name], statistics.nominal.get(name))
    for name, rate in statistics.nominal.items():
        if name.endswith("_rate"):
            yield f"{f'setting {name}':<28}{'':>10}{rate:>10.1%}"
    if any(statistics.treatment.values()):
        yield "input in place of the chosen tokens"
        for name, text in _TREATMENTS.items():
            if statistics.treatment[name] or statistics.nominal.get(name):
                yield _line(f"  {text}", statistics.treatment[name], statistics.nominal.get(name))
        yield from _run_lines(statistics)
    yield from _profile_lines(statistics)


def _line(text: str, realised: float, nominal: float | None) -> str:
    setting = "" if nominal is None else f"{nominal:.1%}"
    return f"{text:<28}{realised:>10.1%}{setting:>10}".rstrip()


def _run_lines(statistics: CorruptionStatistics) -> Iterator[str]:
    for unit in ("words", "tokens"):
        yield f"{f'mean run, {unit}':<28}{statistics.mean_run(unit):>10.2f}"
    if (mean_length := statistics.nominal.get("mean_length")) is not None:
        yield f"{'setting mean_length':<28}{'':>10}{mean_length:>10.2f}"
    cut = f"{'words chosen only in part':<28}{statistics.cut_words:>10.1%}"
    yield f"{cut}   of the words with a chosen token"
    yield ""
    yield f"{'length of a run':<18}{'words':<{_BAR + 10}}tokens"
    columns = [_shares_by_length(statistics.run_words), _shares_by_length(statistics.run_tokens)]
    for length in range(max(map(len, columns))):
        name = f"{length + 1}" + ("+" if length + 1 == _LONGEST_RUN else "")
        bars = [_bar(shares[length]) if length < len(shares) else "" for shares in columns]
        yield f"{name:>15}   {bars[0]:<{_BAR + 10}}{bars[1]}".rstrip()


def _profile_lines(statistics: CorruptionStatistics) -> Iterator[str]:
    if not any(map(any, statistics.profile.values())):
        return
    yield ""
    yield f"{'position in row':<18}{'corrupted':<{_BAR + 10}}predicted"
    for tenth in range(BINS):
        bars = [_bar(statistics.profile[name][tenth]) for name in ("corrupted", "predicted")]
        name = f"{tenth * 100 // BINS}-{(tenth + 1) * 100 // BINS} %"
        yield f"{name:>15}   {bars[0]:<{_BAR + 10}}{bars[1]}".rstrip()


def _shares_by_length(counts: list[int]) -> list[float]:
    """The share of each length. All lengths from `_LONGEST_RUN` on are one share."""
    bins = counts[: _LONGEST_RUN - 1]
    if len(counts) >= _LONGEST_RUN:
        bins = [*bins, sum(counts[_LONGEST_RUN - 1 :])]
    total = sum(counts)
    return [count / total for count in bins]


def _bar(share: float) -> str:
    return f"{'#' * round(share * _BAR)} {share:.1%}".strip()
