"""Runs of several machines in one table, and whether cells that were done on both agree.

Another processor, thread count or version of torch changes the last bits, and after thousands of
steps the weights. The same run on two machines is then like two seeds: its scores should differ no
more than those of two seeds do. Machines whose replicated cells do so share a table; machines that
differ significantly have a table each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr

from bench.records.store import RunRecord
from bench.settings import sha256_json
from bench.statistics.pairwise import holm


@dataclasses.dataclass(frozen=True)
class Pool:
    """Runs that may share a table."""

    runs: list[RunRecord]
    """Each objective and seed once."""
    note: str = ""
    """The machines and the result of the cross-check; empty for one machine."""
    is_checked: bool = True


def pools_of(runs: Sequence[RunRecord]) -> Iterator[Pool]:
    """Comparable runs, divided where machines differ significantly."""
    by_machine: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_machine.setdefault(run.machine, []).append(run)
    waiting = dict(sorted(by_machine.items(), key=lambda item: (-len(item[1]), item[0])))
    while waiting:
        name = next(iter(waiting))
        members, joined, tested = waiting.pop(name), [name], 0
        is_checked = True
        for other in list(waiting):
            p_values = list(_replicates(members, waiting[other]))
            if p_values and holm(np.array(p_values)).any():
                continue
            is_checked &= bool(p_values)
            tested += len(p_values)
            known = {_cell(run) for run in members}
            members += [run for run in waiting.pop(other) if _cell(run) not in known]
            joined.append(other)
        yield Pool(members, _note(joined, tested, is_checked), is_checked)


def _note(machines: list[str], tested: int, is_checked: bool) -> str:
    if len(machines) == 1:
        return ""
    names = "; ".join(machines)
    if not is_checked:
        return (
            f"machines not cross-checked ({names}): no objective was trained with the same seed "
            "on all of them, so it is not known whether they differ. Repeat one run on each"
        )
    return (
        f"machines cross-checked ({names}): {tested} score{'s' * (tested > 1)} of runs that were "
        "done on two of them differ no more than the scores of two seeds do (5 %, Holm)"
    )


def _cell(run: RunRecord) -> str:
    """Equal for the same objective, settings, code and seed."""
    data = run.data
    code = data["spec"].get("objective_code")
    return sha256_json([data["objective"], data["settings"], code, data["seed"]])


def _replicates(here: Sequence[RunRecord], there: Sequence[RunRecord]) -> Iterator[float]:
    """The p of the difference of each score of each pretraining that both machines did."""
    spreads = _spreads([here, there])
    others = {_cell(run): run for run in there}
    for run in here:
        other = others.get(_cell(run))
        if other is None or not run.data["spent"]["tokens"]:
            continue
        scores = {_key(score): score.data for score in other.scores}
        for score in run.scores:
            mine, its = score.data, scores.get(_key(score))
            if its is None or mine["value"] is None or its["value"] is None:
                continue
            gap = abs(mine["value"] - its["value"])
            variance, freedom = spreads.get(_key(score), (0.0, 0))
            errors = mine["stderr"] or 0.0, its["stderr"] or 0.0
            deviation = math.sqrt(2 * variance) if freedom else math.hypot(*errors)
            if deviation == 0.0:
                yield float(gap == 0.0)
            else:
                below = -gap / deviation
                yield float(2 * (stdtr(freedom, below) if freedom else ndtr(below)))


def _key(score: Any) -> tuple[Any, ...]:
    return (*score.variant, score.data["attention"])


def _spreads(machines: Sequence[Sequence[RunRecord]]) -> dict[tuple[Any, ...], tuple[float, int]]:
    """Task variant -> the variance between seeds, pooled over objectives, and its degrees."""
    values: dict[tuple[Any, ...], dict[tuple[int, str], list[float]]] = {}
    for place, runs in enumerate(machines):
        for run in runs:
            row = place, sha256_json([run.data["objective"], run.data["settings"]])
            for score in run.scores:
                if run.data["spent"]["tokens"] and score.data["value"] is not None:
                    of_key = values.setdefault(_key(score), {})
                    of_key.setdefault(row, []).append(score.data["value"])
    pooled = {}
    for key, rows in values.items():
        freedom = sum(len(row) - 1 for row in rows.values())
        squares = sum(float(((np.array(r) - np.mean(r)) ** 2).sum()) for r in rows.values())
        pooled[key] = (squares / freedom if freedom else 0.0, freedom)
    return pooled
