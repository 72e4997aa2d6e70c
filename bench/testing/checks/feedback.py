"""Check of an objective that adapts to the model: its counters, and what it makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.testing.checks.trial import ROWS, Trial, differing, sample_rows
from bench.testing.findings import Inapplicable, demand, place
from bench.testing.samples import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bench.pretraining.objective import Objective


def check_feedback(objective: Objective) -> None:
    """Counters are integers that add up over micro-batches; `adapt` is pure and keeps shapes."""
    if not objective.feedback_steps:
        raise Inapplicable("the objective has no feedback")
    where, batch, trial = place(objective, "loss"), sample_rows(objective), Trial(objective)
    counters = trial.loss(batch)[1].counters
    demand(bool(counters), "counters in the loss, because feedback_steps is not 0", "none", where)
    parts = [trial.loss(rows_of(batch, torch.tensor([row])))[1].counters for row in range(ROWS)]
    for name, counts in counters.items():
        seen = f"{str(counts.dtype).removeprefix('torch.')} in counters[{name!r}]"
        demand(counts.dtype == torch.int64, "counters of int64", seen, where)
        added = torch.stack([part[name] for part in parts]).sum(0)
        seen = f"{int(counts.sum())} for the whole and {int(added.sum())} for {ROWS} parts"
        expected = f"counters[{name!r}] to add up over micro-batches"
        demand(torch.equal(added, counts), expected, seen, where)
    where = place(objective, "adapt")
    arguments = dict(batch.statistics) | counters
    before = {name: tensor.clone() for name, tensor in arguments.items()}
    one, other = (objective.adapt(batch.statistics, counters) for _ in range(2))
    changed = differing(before, arguments)
    demand(not changed, "adapt to change no argument", f"{', '.join(changed)} changed", where)
    changed = differing(one, other)
    demand(not changed, "adapt to be a pure function", f"{', '.join(changed)} differ", where)
    expected, seen = _shapes(batch.statistics), _shapes(one)
    demand(seen == expected, f"statistics as before, {expected}", seen, where)


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    """The name, type and shape of each tensor."""
    return ", ".join(
        f"{name} {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for name, tensor in sorted(tensors.items())
    )
