"""Whether an encoder can see what it is asked for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.testing.checks.trial import (
    LENGTH,
    VOCABULARY,
    Trial,
    asked_of,
    corrupted,
    first,
    moments,
    origins_of,
    sampled,
)
from bench.testing.findings import Inapplicable, demand, place

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.objective import Objective


INFLUENCE = 1e-4
"""A smaller change of a state is rounding: other batch sizes add up in another order."""


def check_hidden_tokens(objective: Objective) -> None:
    """Another token at a hidden place never changes what the encoder is shown."""
    was_hidden = False
    for progress in moments(objective):
        # Units mined from these rows would tell what is hidden by where they end: mine others.
        batch = sampled(objective, progress, mined_seeds=(7,))
        example = corrupted(objective, batch)
        hidden = _hidden(batch, example)
        was_hidden |= bool(hidden.any())
        changed = torch.where(hidden, _other_token(batch.tokens), batch.tokens)
        one, other = Trial(objective), Trial(objective)
        one.loss(batch)
        other.loss(dataclasses.replace(batch, tokens=changed))
        seen = [
            bool((a.tokens != b.tokens).any()) for a, b in zip(one.seen, other.seen, strict=True)
        ]
        demand(
            not any(seen),
            "what is hidden not to change what the encoder sees",
            f"other inputs after {int(hidden.sum())} hidden tokens were exchanged "
            f"(at {progress:.0%} of the budget)",
            f"{place(objective, 'corrupt')} and {place(objective, 'loss')}",
        )
    if not was_hidden:
        raise Inapplicable("it hides no token of the text (what comes later has its own check)")


def check_future(objective: Objective) -> None:
    """Where the next token is predicted, the encoder's state does not depend on it."""
    where, asked = f"{place(objective, 'corrupt')}: its Attention", 0
    for progress in moments(objective):
        trial = Trial(objective)
        batch = sampled(objective, progress)
        example, _ = trial.loss(batch)
        if len(trial.seen) != 1 or trial.seen[0].tokens.shape != example.inputs.shape:
            continue  # read otherwise than it was corrupted: not a matter of attention alone
        is_decoded = example.positions is None and example.labels.shape != example.inputs.shape
        if is_decoded or example.origins is not None:
            continue  # read by a decoder of its own
        rows, at, labels = asked_of(example)
        following = torch.nn.functional.pad(batch.tokens, (0, 1), value=IGNORED)[rows, at + 1]
        is_next = (labels == following) & (labels != batch.tokens[rows, at])
        rows, at, labels = rows[is_next], at[is_next], labels[is_next]
        is_shown = example.inputs[rows, at + 1] == labels
        leaks = is_shown & _influence(trial)[rows, at, at + 1]
        asked += len(rows)
        # Under full attention a share of the hidden tokens may be shown unchanged (BERT's 10 %).
        is_full = _is_full(example, rows) & (objective.scoring != "causal")
        strict, lenient = leaks & ~is_full, leaks & is_full
        fits = not strict.any() and int(lenient.sum()) * 2 <= int(is_full.sum())
        spot = f"position {first(at[leaks])} of row {first(rows[leaks])}"
        seen = f"the state at {spot} changed with the token it predicts"
        demand(fits, "no prediction to see what it predicts", seen, where)
    if not asked:
        raise Inapplicable("it predicts no next tokens")


def _hidden(batch: Batch, example: Example) -> Tensor:
    """Ordinary tokens of the text that no input shows."""
    origins = origins_of(example)
    is_shown = (origins >= 0) & (example.inputs == batch.tokens.gather(1, origins.clamp(min=0)))
    target = torch.where(is_shown, origins, LENGTH)
    shown = torch.zeros(len(origins), LENGTH + 1, dtype=torch.bool)
    return batch.real & ~shown.scatter(1, target, value=True)[:, :LENGTH]


def _other_token(tokens: Tensor) -> Tensor:
    """For each id the next ordinary one."""
    ordinary = [i for i in range(VOCABULARY.size) if i not in VOCABULARY.special_ids]
    following = torch.arange(VOCABULARY.size)
    following[ordinary] = torch.tensor([*ordinary[1:], ordinary[0]])
    return following[tokens]


def _influence(trial: Trial) -> Tensor:
    """[B, L, L]: whether the state at the second index changes with the input at the third."""
    tokens, attention, extra = trial.seen[0]
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
    """Which of the rows attend to everything."""
    attention = example.attention
    if attention.prefix_lengths is None:
        return torch.full_like(rows, attention.pattern == "full", dtype=torch.bool)
    return attention.prefix_lengths[rows] >= example.inputs.shape[1]
