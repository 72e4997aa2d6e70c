"""Checks that the encoder cannot see the tokens that it predicts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.testing.checks.trial import (
    LENGTH,
    VOCABULARY,
    Trial,
    corrupt_rows,
    first,
    origins_of,
    predictions_of,
    progress_values,
    sample_rows,
)
from bench.testing.findings import Inapplicable, demand, place

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.objective import Objective


INFLUENCE = 1e-4
"""A smaller change is rounding: other batch sizes sum in another order."""


def check_hidden_tokens(objective: Objective) -> None:
    """Replacing a hidden token never changes the input of the encoder."""
    was_hidden = False
    for progress in progress_values(objective):
        # Statistics of the same rows would reveal hidden tokens by the ends of units: use others.
        batch = sample_rows(objective, progress, statistics_seeds=(7,))
        example = corrupt_rows(objective, batch)
        hidden = _hidden(batch, example)
        was_hidden |= bool(hidden.any())
        changed = torch.where(hidden, _other_token(batch.tokens), batch.tokens)
        one, other = Trial(objective), Trial(objective)
        one.loss(batch)
        other.loss(dataclasses.replace(batch, tokens=changed))
        seen = [
            bool((a.tokens != b.tokens).any()) for a, b in zip(one.calls, other.calls, strict=True)
        ]
        demand(
            not any(seen),
            "hidden tokens not to change the input of the encoder",
            f"other inputs after {int(hidden.sum())} hidden tokens were replaced "
            f"(at {progress:.0%} of the budget)",
            f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
        )
    if not was_hidden:
        raise Inapplicable(
            "the objective hides no token of the text (later tokens have their own check)"
        )


def check_future(objective: Objective) -> None:
    """The state that predicts the next token does not depend on that token."""
    where, num_predictions = f"{place(objective, 'corrupt')}: its Attention", 0
    for progress in progress_values(objective):
        trial = Trial(objective)
        batch = sample_rows(objective, progress)
        example, _ = trial.loss(batch)
        if len(trial.calls) != 1 or trial.calls[0].tokens.shape != example.inputs.shape:
            continue  # the loss changes the inputs: not a matter of attention alone
        is_decoded = example.positions is None and example.labels.shape != example.inputs.shape
        if is_decoded or example.origins is not None:
            continue  # a decoder predicts
        rows, at, labels = predictions_of(example)
        following = torch.nn.functional.pad(batch.tokens, (0, 1), value=IGNORED)[rows, at + 1]
        is_next = (labels == following) & (labels != batch.tokens[rows, at])
        rows, at, labels = rows[is_next], at[is_next], labels[is_next]
        is_shown = example.inputs[rows, at + 1] == labels
        leaks = is_shown & _influence(trial)[rows, at, at + 1]
        num_predictions += len(rows)
        # Under full attention a share of the hidden tokens may be shown unchanged (BERT's 10 %).
        is_full = _is_full(example, rows) & (objective.scoring != "causal")
        strict, lenient = leaks & ~is_full, leaks & is_full
        fits = not strict.any() and int(lenient.sum()) * 2 <= int(is_full.sum())
        spot = f"position {first(at[leaks])} of row {first(rows[leaks])}"
        seen = f"the state at {spot} changed with the token that it predicts"
        demand(fits, "no prediction to see its own label", seen, where)
    if not num_predictions:
        raise Inapplicable("the objective predicts no next tokens")


def _hidden(batch: Batch, example: Example) -> Tensor:
    """Ordinary tokens of the text that are in no input."""
    origins = origins_of(example)
    is_shown = (origins >= 0) & (example.inputs == batch.tokens.gather(1, origins.clamp(min=0)))
    target = torch.where(is_shown, origins, LENGTH)
    shown = torch.zeros(len(origins), LENGTH + 1, dtype=torch.bool)
    return batch.real & ~shown.scatter(1, target, value=True)[:, :LENGTH]


def _other_token(tokens: Tensor) -> Tensor:
    """The next ordinary id for each id."""
    ordinary = [i for i in range(VOCABULARY.size) if i not in VOCABULARY.special_ids]
    following = torch.arange(VOCABULARY.size)
    following[ordinary] = torch.tensor([*ordinary[1:], ordinary[0]])
    return following[tokens]


def _influence(trial: Trial) -> Tensor:
    """[B, L, L]: whether the state at the second index depends on the input at the third."""
    tokens, attention, extra = trial.calls[0]
    rows, length = tokens.shape
    copies = tokens.repeat_interleave(length, 0)
    at = torch.arange(length).repeat(rows)
    copy = torch.arange(len(copies))
    copies[copy, at] = (copies[copy, at] + 1) % VOCABULARY.size
    repeated = {
        name: None if value is None else value.repeat_interleave(length, 0)
        for name, value in (
            ("attention_mask", attention.attention_mask),
            ("prefix_lengths", attention.prefix_lengths),
        )
    }
    with torch.no_grad():
        plain = trial.encoder(tokens, attention, extra)
        moved = trial.encoder(copies, Attention(attention.pattern, **repeated), extra)
    change = (moved.view(rows, length, length, -1) - plain[:, None]).abs().amax(-1)
    depends: Tensor = (change > INFLUENCE).transpose(1, 2)
    return depends


def _is_full(example: Example, rows: Tensor) -> Tensor:
    """The rows with full attention."""
    attention = example.attention
    if attention.prefix_lengths is None:
        return torch.full_like(rows, attention.pattern == "full", dtype=torch.bool)
    return attention.prefix_lengths[rows] >= example.inputs.shape[1]
