"""The realised figures as lines of text, nominal ones beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.showing.figures import BINS

if TYPE_CHECKING:
    from bench.showing.figures import Figures

_BAR = 20
_LONGEST_RUN = 10
_SHARES = {
    "words": "words touched",
    "moved": "tokens moved",
    "inserted": "inserted, for each token",
}
_TREATMENTS = {
    "mask": "as the mask",
    "random": "as another token",
    "kept": "as they are",
    "removed": "not at all",
}


def count_lines(found: Figures, sample: str) -> Iterator[str]:
    """Realised beside nominal: shares, treatment, runs, cut words, profile."""
    yield f"over {sample}"
    yield f"{'':<28}{'realised':>10}{'nominal':>10}"
    for name in ("corrupted", "predicted"):
        low, high = found.row_ranges[name]
        rows = f"   a row: {low:.1%} to {high:.1%}" if high > low else ""
        said = _figure(f"tokens {name}", found.shares[name], found.nominal.get(name))
        yield f"{said:<48}{rows}".rstrip()
    for name, what in _SHARES.items():
        if found.shares[name]:
            yield _figure(what, found.shares[name], found.nominal.get(name))
    for name, rate in found.nominal.items():
        if name.endswith("_rate"):
            yield f"{f'{name}, as set':<28}{'':>10}{rate:>10.1%}"
    if any(found.treatment.values()):
        yield "the chosen tokens are shown"
        for name, what in _TREATMENTS.items():
            if found.treatment[name] or found.nominal.get(name):
                yield _figure(f"  {what}", found.treatment[name], found.nominal.get(name))
        yield from _run_lines(found)
    yield from _profile_lines(found)


def _figure(what: str, realised: float, nominal: float | None) -> str:
    said = "" if nominal is None else f"{nominal:.1%}"
    return f"{what:<28}{realised:>10.1%}{said:>10}".rstrip()


def _run_lines(found: Figures) -> Iterator[str]:
    for unit in ("words", "tokens"):
        yield f"{f'mean run, in {unit}':<28}{found.mean_run(unit):>10.2f}"
    if (said := found.nominal.get("mean_length")) is not None:
        yield f"{'mean_length, as set':<28}{'':>10}{said:>10.2f}"
    yield f"{'words cut':<28}{found.cut_words:>10.1%}   of the words touched"
    yield ""
    yield f"{'length of a run':<18}{'in words':<{_BAR + 10}}in tokens"
    columns = [_shortened(found.run_words), _shortened(found.run_tokens)]
    for length in range(max(map(len, columns))):
        name = f"{length + 1}" + ("+" if length + 1 == _LONGEST_RUN else "")
        bars = [_bar(shares[length]) if length < len(shares) else "" for shares in columns]
        yield f"{name:>15}   {bars[0]:<{_BAR + 10}}{bars[1]}".rstrip()


def _profile_lines(found: Figures) -> Iterator[str]:
    if not any(map(any, found.profile.values())):
        return
    yield ""
    yield f"{'place in a row':<18}{'corrupted':<{_BAR + 10}}predicted"
    for tenth in range(BINS):
        bars = [_bar(found.profile[name][tenth]) for name in ("corrupted", "predicted")]
        name = f"{tenth * 100 // BINS}-{(tenth + 1) * 100 // BINS} %"
        yield f"{name:>15}   {bars[0]:<{_BAR + 10}}{bars[1]}".rstrip()


def _shortened(counts: list[int]) -> list[float]:
    """Shares of each length, the long ones together."""
    kept = counts[: _LONGEST_RUN - 1]
    if len(counts) >= _LONGEST_RUN:
        kept = [*kept, sum(counts[_LONGEST_RUN - 1 :])]
    total = sum(counts)
    return [count / total for count in kept]


def _bar(share: float) -> str:
    return f"{'#' * round(share * _BAR)} {share:.1%}".strip()
