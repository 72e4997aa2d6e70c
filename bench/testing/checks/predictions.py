"""Checks of the amount of work: as many predictions as declared, and no loop over tokens."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from bench.pretraining.objective import MaskedObjective
from bench.pretraining.rates import rate_at
from bench.testing.checks.trial import (
    VOCABULARY,
    corrupt_rows,
    noise_for,
    origins_of,
    predictions_of,
    progress_values,
    sample_rows,
)
from bench.testing.findings import Inapplicable, demand, place
from bench.testing.samples import sample_batch

if TYPE_CHECKING:
    from bench.pretraining.batch import Batch, Example
    from bench.pretraining.objective import Objective

SEEDS = 8
DEVIATIONS = 6
"""A rate may be drawn for each token; one in a billion such draws is further from its mean."""
LEAST_HIDDEN = 0.5
"""Share of the declared replacements that must be there: a draw per span varies much."""
LENGTHS, ROW_COUNTS = (128, 4096), (2, 128)
STEPS_PER_ITEM = 7
"""Bytecodes for each further token of a row, or row; a loop that indexes a tensor needs 10 or more.
`span` needs 4.5, for one operation on all rows per span, and no built-in objective needs 1 per row.
A mixture may spend as much for each of its components."""


def check_quota(objective: Objective) -> None:
    """No row has more predictions than the declared rate allows."""
    if objective.scoring not in ("masked", "shifted") or getattr(objective, "rate", None) is None:
        raise Inapplicable("the objective declares no rate of predicted tokens")
    where = place(objective, "corrupt")
    for progress in progress_values(objective):
        allowed = predicted = hidden = ordinary = 0
        for seed in range(SEEDS):
            batch = sample_rows(objective, progress, seed)
            quota = _quota(objective, batch)
            if isinstance(objective, MaskedObjective):
                chosen = objective.choose(batch, noise_for(batch, seed)).sum(1)
                if _is_exact(objective, batch):
                    seen = f"{int(chosen.max())}, quota {quota[chosen.argmax()]}"
                    fits = bool((chosen <= quota).all())
                    demand(fits, "at most quota chosen tokens in each row", seen, where)
            example = corrupt_rows(objective, batch, seed)
            allowed += int(quota.sum())
            predicted += len(predictions_of(example)[0])
            hidden += _own_predictions(batch, example)[1]
            ordinary += int(batch.real.sum())
        most = allowed + DEVIATIONS * max(allowed, 1) ** 0.5
        # The loss of an objective may be on all tokens; then the rate is that of the hidden ones.
        counted = hidden if predicted == ordinary else predicted
        seen = f"{counted} of {ordinary} at {progress:.0%} of the budget"
        demand(counted <= most, f"about {allowed} predictions at most, by the rate", seen, where)


def check_visible_labels(objective: Objective) -> None:
    """The encoder does not see the tokens that it predicts, except for the declared share."""
    if objective.scoring != "masked" or not objective.trains:
        raise Inapplicable("the objective predicts no hidden tokens at their own positions")
    for progress in progress_values(objective):
        own = hidden = predicted = ordinary = allowed = 0
        for seed in range(SEEDS):
            batch = sample_rows(objective, progress, seed)
            example = corrupt_rows(objective, batch, seed)
            counts = _own_predictions(batch, example)
            own, hidden = own + counts[0], hidden + counts[1]
            predicted += len(predictions_of(example)[0])
            ordinary += int(batch.real.sum())
            if getattr(objective, "rate", None) is not None:
                allowed += int(_quota(objective, batch).sum())
        if 2 * own < predicted:
            continue  # a phase of next tokens; those have their own check
        expected = float(own)
        if own == ordinary:  # the loss is on all tokens, hidden or not
            expected = float(allowed)
        if isinstance(objective, MaskedObjective):
            expected *= objective.mask_fraction + objective.random_fraction
        least = max(LEAST_HIDDEN * expected, 1 if own else 0)
        seen = f"{hidden} of {own} at {progress:.0%} of the budget; the others are in the inputs"
        where = place(objective, "corrupt")
        demand(hidden >= least, f"at least {least:.0f} predicted tokens to be hidden", seen, where)


def check_vectorized(objective: Objective) -> None:
    """`corrupt` has no Python loop over tokens or rows: its number of steps does not grow."""
    where = place(objective, "corrupt")
    packages = {cls.__module__.split(".")[0] for cls in type(objective).__mro__}
    for progress in progress_values(objective):
        statistics = sample_rows(objective, progress).statistics

        def steps(rows: int, length: int, at: float = progress, known: Any = statistics) -> int:
            batch = sample_batch(rows, length, vocabulary=VOCABULARY)
            batch = dataclasses.replace(batch, progress=at, statistics=known)
            corrupt_rows(objective, batch)  # fills caches
            return _bytecodes(lambda: corrupt_rows(objective, batch), packages)

        few, many = ROW_COUNTS
        short, long = LENGTHS
        start = steps(few, short)
        room = STEPS_PER_ITEM * max(1, len(objective.ingredients()))
        for name, grown, extra in (
            ("tokens", steps(few, long), long - short),
            ("rows", steps(many, short), many - few),
        ):
            seen = f"{start} bytecodes, and {grown} for {extra} more {name} ({name} looped)"
            fits = grown - start < room * extra
            demand(fits, "tensor operations and no loop over tokens or rows", seen, where)


def _quota(objective: Objective, batch: Batch) -> torch.Tensor:
    if isinstance(objective, MaskedObjective):
        return objective.quota(batch)
    rate = rate_at(getattr(objective, "rate"), batch.progress)  # noqa: B009  (any class has one)
    return (batch.real.sum(1) * rate + 0.5).long()


def _is_exact(objective: MaskedObjective, batch: Batch) -> bool:
    """Whether there is no room for more than the quota; independent draws need more."""
    return objective.capacity(batch) <= MaskedObjective.capacity(objective, batch)


def _own_predictions(batch: Batch, example: Example) -> tuple[int, int]:
    """The number of predictions of the token at the same place, and of those that are hidden."""
    if example.positions is None and example.labels.shape != example.inputs.shape:
        return 0, 0  # a decoder predicts
    rows, at, labels = predictions_of(example)
    origin = origins_of(example)[rows, at]
    is_own = (origin >= 0) & (labels == batch.tokens[rows, origin.clamp(min=0)])
    return int(is_own.sum()), int((is_own & (example.inputs[rows, at] != labels)).sum())


def _bytecodes(call: Callable[[], object], packages: set[str]) -> int:
    """The number of bytecodes that a call executes in some packages: unlike its time, it is exact.

    Code that other packages generate, such as checks of types, is not counted.
    """
    count = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal count
        package = str(frame.f_globals.get("__name__")).split(".")[0]
        if package not in packages or frame.f_code.co_filename.startswith("<@"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(previous)
    return count
