"""Checks that an objective depends on its row and its noise alone, and changes nothing else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.guard import process_state
from bench.pretraining.objective import DrawnObjective
from bench.testing.checks.trial import (
    ROWS,
    Trial,
    corrupt_rows,
    differing,
    progress_values,
    sample_rows,
    tensors_of,
)
from bench.testing.findings import Inapplicable, demand, place
from bench.testing.samples import rows_of

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.batch import Batch
    from bench.pretraining.objective import Objective


def check_batch_untouched(objective: Objective) -> None:
    """The batch is read and never changed."""
    for progress in progress_values(objective):
        batch = sample_rows(objective, progress)
        before = {name: tensor.clone() for name, tensor in _tensors(batch).items()}
        Trial(objective).loss(batch)
        changed = differing(before, _tensors(batch))
        demand(
            not changed,
            "the batch to stay unchanged",
            f"batch.{', batch.'.join(changed)} changed",
            f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
        )


def check_process_untouched(objective: Objective) -> None:
    """Random generators, default dtype, gradient recording and threads stay unchanged."""
    batch, trial = sample_rows(objective), Trial(objective)
    before = process_state()
    trial.loss(batch)
    after = process_state()
    changed = [name for name in before if before[name] != after[name]]
    demand(
        not changed,
        "the state of the process to stay unchanged (draws come from `noise`)",
        f"{', '.join(changed)} changed",
        f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
    )


def check_head(objective: Objective) -> None:
    """The head is built alike in every process, whatever the state of the random generators is."""
    heads = []
    for seed in (1, 2):  # generators of Python and NumPy go on, and differ by themselves
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads.append(Trial(objective).head.state_dict())
    changed = differing(*heads)
    expected = "an equal head at each construction (draw with `bench.Noise`, or with torch)"
    demand(not changed, expected, f"{', '.join(changed)} changed", place(objective, "head"))


def check_reproducible(objective: Objective) -> None:
    """Equal noise gives an equal result; another seed gives another one, if anything is drawn."""
    where = f"{place(objective, 'corrupt')} and {place(objective, 'loss')}"
    varies = False
    for progress in progress_values(objective):
        batch, trial = sample_rows(objective, progress), Trial(objective)
        one, other, unlike = (_all_tensors(trial, batch, seed) for seed in (0, 0, 2**40 + 1))
        changed = differing(one, other)
        seen = f"{', '.join(changed)} changed"
        demand(not changed, "an equal result with equal noise", seen, where)
        varies |= bool(differing(one, unlike))
    expected = "another corruption with another seed (the class is a DrawnObjective)"
    is_drawn = isinstance(objective, DrawnObjective)
    demand(varies or not is_drawn, expected, "an equal one at every share of the budget", where)


def check_static_masking(objective: Objective) -> None:
    """`masking=static` repeats the corruption in every epoch, `dynamic` does not."""
    if not isinstance(objective, DrawnObjective):
        raise Inapplicable("the objective has no setting `masking`: it draws nothing")
    where = f"{place(objective, 'corrupt')}: draw from self.settled(noise)"
    changes: dict[str, set[str]] = {}
    for masking in ("static", "dynamic"):
        variant = dataclasses.replace(objective, masking=masking)
        changes[masking] = set()
        for progress in progress_values(objective):
            batch, trial = sample_rows(variant, progress), Trial(variant)
            one, other = (_all_tensors(trial, batch, epoch=epoch) for epoch in (0, 1))
            changes[masking] |= set(differing(one, other))
    seen = f"{', '.join(sorted(changes['static']))} changed from epoch to epoch"
    demand(not changes["static"], "masking=static to repeat the corruption", seen, where)
    expected = "masking=dynamic to draw a new corruption in every epoch"
    demand(bool(changes["dynamic"]), expected, "the same corruption in two epochs", where)


def check_rows_independent(objective: Objective) -> None:
    """The corruption of a row is equal alone, in other batches and in another order."""
    where = place(objective, "corrupt")
    for progress in progress_values(objective):
        batch = sample_rows(objective, progress)
        whole = tensors_of(corrupt_rows(objective, batch))
        for rows in ([0], [ROWS - 1], [3, 1], list(range(ROWS))[::-1]):
            index = torch.tensor(rows)
            tensors = tensors_of(corrupt_rows(objective, rows_of(batch, index)))
            own = {k: v for k, v in whole.items() if v.ndim and len(v) == ROWS}
            expected = {name: tensor[index] for name, tensor in own.items()}
            changed = differing(expected, {k: v for k, v in tensors.items() if k in expected})
            seen = f"{', '.join(changed)} differ for rows {rows} of {ROWS} taken alone"
            demand(not changed, "a row to depend on itself alone", seen, where)


def _tensors(batch: Batch) -> dict[str, Tensor]:
    own = {k: v for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return own | {f"statistics[{name!r}]": value for name, value in batch.statistics.items()}


def _all_tensors(trial: Trial, batch: Batch, seed: int = 0, epoch: int = 0) -> dict[str, Tensor]:
    """Every tensor that an objective makes of a batch, with encoder inputs and loss."""
    trial.calls.clear()
    example, loss = trial.loss(batch, seed, epoch)
    seen = {f"the encoder's input {i}": one.tokens for i, one in enumerate(trial.calls)}
    return tensors_of(example) | seen | {"loss.sum": loss.sum.detach()}
