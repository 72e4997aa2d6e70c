"""Checks of the loss: finite, additive, learnable, and with the declared cost."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.pretraining.ledger import TRAINING_FACTOR, encoder_row_flops, step_flops
from bench.testing.checks.trial import (
    LENGTH,
    ROWS,
    SHAPE,
    VOCABULARY,
    Trial,
    progress_values,
    sample_rows,
    with_statistics,
)
from bench.testing.findings import Inapplicable, demand, place
from bench.testing.samples import rows_of, short_batch

if TYPE_CHECKING:
    from bench.pretraining.batch import Loss
    from bench.pretraining.objective import Objective

STEPS = 30
TOLERANCE = 1e-4
"""Relative tolerance: float32 sums in another order."""


def check_short_rows(objective: Objective) -> None:
    """Rows of one token or of none give a finite loss and finite gradients."""
    where = f"{place(objective, 'corrupt')} and {place(objective, 'loss')}"
    short = with_statistics(objective, short_batch(LENGTH, VOCABULARY))
    batches = {"rows of 0, 0, 1 and 2 tokens": short}
    batches |= {
        f"a row of {int(short.real[i].sum())} tokens": rows_of(short, torch.tensor([i]))
        for i in range(len(short.tokens))
    }
    for progress in progress_values(objective):
        for title, batch in batches.items():
            trial = Trial(objective)
            _, loss = trial.loss(dataclasses.replace(batch, progress=progress))
            fits = bool(loss.sum.isfinite()) and int(loss.predictions) >= 0
            seen = f"{float(loss.sum.detach())} nats over {int(loss.predictions)} for {title}"
            demand(fits, "a finite loss of almost empty rows", seen, where)
            if not loss.sum.requires_grad:
                continue
            loss.sum.backward()  # type: ignore[no-untyped-call]
            gradients = [p.grad for p in trial.parameters if p.grad is not None]
            fits = all(bool(gradient.isfinite().all()) for gradient in gradients)
            demand(
                fits,
                "finite gradients of almost empty rows",
                f"infinite or NaN ones for {title}",
                where,
            )


def check_micro_batches(objective: Objective) -> None:
    """Sums and counts of micro-batches add up to those of the whole batch.

    Micro-batches consist of whole groups of `rows_together` rows.
    """
    where, size = place(objective, "loss"), objective.rows_together
    demand(size >= 1, "rows_together to be 1 or more", f"{size}", place(objective, "rows_together"))
    for progress in progress_values(objective):
        batch = sample_rows(objective, progress, rows=ROWS * size)
        trial = Trial(objective)
        whole = _numbers(trial.loss(batch)[1], where)
        for cuts in (range(ROWS), (0, 1, 4)):
            bounds = [size * cut for cut in (*cuts, ROWS)]
            parts = [
                _numbers(trial.loss(rows_of(batch, torch.arange(low, high)))[1], where)
                for low, high in itertools.pairwise(bounds)
            ]
            for name, value in whole.items():
                added = sum(part.get(name, 0.0) for part in parts)
                fits = abs(added - value) <= TOLERANCE * max(1.0, abs(value))
                seen = f"{name} {value:.6g} for the whole and {added:.6g} for {len(parts)} parts"
                demand(fits, "sums and counts to add up over micro-batches", seen, where)


def check_token_head(objective: Objective) -> None:
    """An objective that scores sentences has a head that gives logits of every token."""
    if objective.scoring is None:
        raise Inapplicable("the objective scores no sentences")
    trial = Trial(objective)
    embedding = trial.encoder.token_table
    with torch.no_grad():
        logits = trial.head(torch.ones(5, SHAPE.hidden_size), embedding)
    fits = logits.shape == (5, VOCABULARY.size) and bool(logits.isfinite().all())
    expected = f"head(hidden [5 D], embedding [V D]) to give [5, {VOCABULARY.size}] logits"
    demand(fits, expected, f"{list(logits.shape)}", place(objective, "head"))


def check_gradient(objective: Objective) -> None:
    """Every weight of the encoder gets a gradient."""
    _demand_trained(objective)
    for progress in _ends(objective):
        trial = Trial(objective)
        trial.loss(sample_rows(objective, progress))[1].sum.backward()  # type: ignore[no-untyped-call]
        idle = [
            name
            for name, parameter in trial.encoder.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        seen = f"none in {', '.join(idle[:3])} at {progress:.0%} of the budget"
        expected = "a gradient in every weight of the encoder"
        demand(not idle, expected, seen, place(objective, "loss"))


def check_learning(objective: Objective) -> None:
    """At most thirty steps on one batch with one noise lower the loss by 2 %."""
    _demand_trained(objective)
    for progress in _ends(objective):
        batch, trial = sample_rows(objective, progress, rows=3), Trial(objective)
        optimizer = torch.optim.AdamW(trial.parameters, lr=3e-3, fused=True)
        means: list[float] = []
        while len(means) <= STEPS and not _has_fallen(means):
            mean = _mean(trial.loss(batch)[1])
            optimizer.zero_grad()
            mean.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            means.append(float(mean.detach()))
        seen = f"{means[0]:.4g} before and {means[-1]:.4g} after"
        expected = f"{STEPS} steps on one batch to lower the loss"
        demand(_has_fallen(means), expected, seen, place(objective, "loss"))


def check_cost(objective: Objective) -> None:
    """Declared parameters, encoder passes and FLOPs equal the measured ones."""
    _demand_trained(objective)
    where, trial = place(objective, "extra_cost"), Trial(objective)
    cost, batch = objective.extra_cost(SHAPE), sample_rows(objective)
    parameters = sum(p.numel() for p in trial.head.parameters())
    expected = f"the declared {cost.parameters:,} parameters in the head"
    demand(parameters == cost.parameters, expected, f"{parameters:,}", where)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        example, loss = trial.loss(batch)
    positions = ROWS * LENGTH * cost.encoder_passes
    read = trial.encoder.tokens_read
    expected = f"the encoder to read the declared {positions} positions"
    demand(read == positions, f"{expected} of {ROWS} x {LENGTH}", f"{read}", where)
    slots = example.labels.numel() if loss.slots is None else loss.slots
    declared = step_flops(ROWS * encoder_row_flops(SHAPE, LENGTH), cost, ROWS * LENGTH, slots)
    declared /= TRAINING_FACTOR
    spent = counter.get_total_flops()
    fits = abs(spent - declared) <= 1e-6 * declared
    expected = f"the declared {declared:,.0f} forward FLOPs for {ROWS} x {LENGTH}, {slots} slots"
    demand(fits, expected, f"{spent:,}", where)


def _has_fallen(means: list[float]) -> bool:
    """Whether three losses in a row are below the first by 2 %, so that one step is not luck."""
    return len(means) > 3 and max(means[-3:]) < means[0] - 0.02 * abs(means[0])


def _ends(objective: Objective) -> list[float]:
    """The first and the last progress value: the values between them behave alike."""
    values = progress_values(objective)
    return sorted({values[0], values[-1]})


def _demand_trained(objective: Objective) -> None:
    if not objective.trains:
        raise Inapplicable("the objective is never trained")


def _numbers(loss: Loss, where: str) -> dict[str, float]:
    """The sums and counts of a loss, checked to be finite numbers."""
    counts = {"predictions": loss.predictions, "sum": loss.sum}
    if loss.divisor is not None:
        counts["divisor"] = loss.divisor
    for name, (summed, count) in loss.parts.items():
        counts |= {f"parts[{name!r}] sum": summed, f"parts[{name!r}] count": count}
    for name, tensor in counts.items():
        is_number = tensor.ndim == 0 and bool(tensor.isfinite())
        seen = f"{list(tensor.shape)} {tensor.flatten()[:3].tolist()}"
        demand(is_number, f"loss.{name} to be one finite number", seen, where)
    return {name: float(tensor.detach()) for name, tensor in counts.items()}


def _mean(loss: Loss) -> torch.Tensor:
    divisor = loss.predictions if loss.divisor is None else loss.divisor
    return loss.sum / divisor.clamp(min=1e-9)
