"""What an objective depends on and leaves alone: its row, its noise, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.guard import process_state
from bench.pretraining.objective import DrawnObjective
from bench.testing.checks.trial import (
    ROWS,
    Trial,
    corrupted,
    differing,
    moments,
    sampled,
    tensors_of,
)
from bench.testing.findings import Inapplicable, demand, place
from bench.testing.samples import rows_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.batch import Batch
    from bench.pretraining.objective import Objective


def check_batch_untouched(objective: Objective) -> None:
    """The shared batch is read and never written."""
    for progress in moments(objective):
        batch = sampled(objective, progress)
        before = {name: tensor.clone() for name, tensor in _tensors(batch).items()}
        Trial(objective).loss(batch)
        changed = differing(before, _tensors(batch))
        demand(
            not changed,
            "the batch to be left alone",
            f"batch.{', batch.'.join(changed)} changed",
            f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
        )


def check_process_untouched(objective: Objective) -> None:
    """Generators, default dtype, gradient mode and threads are the process's own."""
    batch, trial = sampled(objective), Trial(objective)
    before = process_state()
    trial.loss(batch)
    after = process_state()
    changed = [what for what in before if before[what] != after[what]]
    demand(
        not changed,
        "the process to be left alone (draws come from `noise`)",
        f"{', '.join(changed)} changed",
        f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
    )


def check_reproducible(objective: Objective) -> None:
    """The same noise gives the same result; another seed another one, if anything is drawn."""
    where = f"{place(objective, 'corrupt')} and {place(objective, 'loss')}"
    varies = False
    for progress in moments(objective):
        batch, trial = sampled(objective, progress), Trial(objective)
        one, other, unlike = (_all_tensors(trial, batch, seed) for seed in (0, 0, 2**40 + 1))
        changed = differing(one, other)
        seen = f"{', '.join(changed)} changed"
        demand(not changed, "the same result under the same noise", seen, where)
        varies |= bool(differing(one, unlike))
    expected = "another corruption under another seed (it is a DrawnObjective)"
    is_drawn = isinstance(objective, DrawnObjective)
    demand(varies or not is_drawn, expected, "the same one at every share of the budget", where)


def check_static_masking(objective: Objective) -> None:
    """`masking=static` repeats the corruption in every epoch, `dynamic` does not."""
    if not isinstance(objective, DrawnObjective):
        raise Inapplicable("it has no setting `masking`: nothing is drawn")
    where = f"{place(objective, 'corrupt')}: draw from self.settled(noise)"
    changes: dict[str, set[str]] = {}
    for masking in ("static", "dynamic"):
        tried = dataclasses.replace(objective, masking=masking)
        changes[masking] = set()
        for progress in moments(objective):
            batch, trial = sampled(tried, progress), Trial(tried)
            one, other = (_all_tensors(trial, batch, epoch=epoch) for epoch in (0, 1))
            changes[masking] |= set(differing(one, other))
    seen = f"{', '.join(sorted(changes['static']))} changed from epoch to epoch"
    demand(not changes["static"], "masking=static to repeat the corruption", seen, where)
    expected = "masking=dynamic to draw anew in every epoch"
    demand(bool(changes["dynamic"]), expected, "the same corruption in both", where)


def check_rows_independent(objective: Objective) -> None:
    """A row's corruption is the same alone, in other company and in another order."""
    where = place(objective, "corrupt")
    for progress in moments(objective):
        batch = sampled(objective, progress)
        whole = tensors_of(corrupted(objective, batch))
        for rows in ([0], [ROWS - 1], [3, 1], list(range(ROWS))[::-1]):
            index = torch.tensor(rows)
            found = tensors_of(corrupted(objective, rows_of(batch, index)))
            own = {k: v for k, v in whole.items() if v.ndim and len(v) == ROWS}
            wanted = {name: tensor[index] for name, tensor in own.items()}
            changed = differing(wanted, {k: v for k, v in found.items() if k in wanted})
            seen = f"{', '.join(changed)} differ for rows {rows} of {ROWS} taken alone"
            demand(not changed, "a row to depend on nothing but itself", seen, where)


def _tensors(batch: Batch) -> dict[str, Tensor]:
    own = {k: v for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return own | {f"statistics[{name!r}]": value for name, value in batch.statistics.items()}


def _all_tensors(trial: Trial, batch: Batch, seed: int = 0, epoch: int = 0) -> dict[str, Tensor]:
    """All that an objective makes of a batch, what the encoder saw and the loss included."""
    trial.seen.clear()
    example, loss = trial.loss(batch, seed, epoch)
    seen = {f"the encoder's input {i}": one.tokens for i, one in enumerate(trial.seen)}
    return tensors_of(example) | seen | {"loss.sum": loss.sum.detach()}
