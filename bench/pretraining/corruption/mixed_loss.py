"""The loss of a batch whose rows belong to several objectives.

Objectives with the ordinary token head share one, and one pass through the encoder. Each of the
others is run on its own rows, whose number varies from batch to batch, so a compiled encoder meets
new shapes; what such a step costs is counted and not estimated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.corruption.mixing import Composed, example_rows, has_own_head, noise_rows
from bench.pretraining.heads.token import token_nats
from bench.pretraining.ledger import encoder_row_flops

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.pretraining.objective import Cost, Objective
    from bench.spec import EncoderShape


def composed_loss(
    objectives: Sequence[Objective],
    groups: Sequence[Sequence[int]],
    cost: Cost,
    encoder: Encoder,
    heads: nn.ModuleList,
    example: Composed,
    noise: Noise,
) -> Loss:
    """Sums and divisors of all parts added up: the mean over all that is asked.

    Args:
        objectives: The parts.
        groups: Indices of those that share a head; each of the others stands alone.
        cost: What the whole declares; the loss says how many slots of its price it used.
        encoder: The shared one.
        heads: One for each group.
        example: With `member`, the part of each row, in its extras.
        noise: Of all rows.
    """
    member = example.extras["member"]
    losses, flops = [], 0.0
    for group, head in zip(groups, heads, strict=True):
        objective, is_alone = objectives[group[0]], has_own_head(objectives[group[0]])
        part: Example = example.examples[group[0]] if is_alone else example
        own_noise = noise
        if len(groups) > 1:
            rows = torch.isin(member, member.new_tensor(group)).nonzero()[:, 0]
            if not len(rows):
                continue
            part, own_noise = example_rows(part, rows), noise_rows(noise, rows)
        if is_alone:
            losses.append(_named(objective.loss(encoder, head, part, own_noise), objective, group))
        else:
            losses.append(_shared_loss(objectives, group, encoder, head, part))
        flops += _flops(objective.extra_cost(encoder.shape), cost, encoder.shape, part)
    return Loss(
        torch.stack([loss.sum for loss in losses]).sum(),
        torch.stack([loss.predictions for loss in losses]).sum(),
        torch.stack([_divisor(loss) for loss in losses]).sum(),
        {name: pair for loss in losses for name, pair in loss.parts.items()},
        slots=flops / cost.flops_per_prediction if len(groups) > 1 else None,
    )


def _shared_loss(
    objectives: Sequence[Objective],
    group: Sequence[int],
    encoder: Encoder,
    head: nn.Module,
    example: Example,
) -> Loss:
    """The token loss of all rows at once, and of each objective's for the curve."""
    nats = token_nats(encoder, head, example).sum(1)
    asked = (example.labels != IGNORED).sum(1)
    parts = {}
    for i in group:
        is_own = example.extras["member"] == i
        parts[f"{i}_{objectives[i].name}"] = ((nats * is_own).sum(), (asked * is_own).sum())
    return Loss(nats.sum(), asked.sum(), parts=parts)


def _named(loss: Loss, objective: Objective, group: Sequence[int]) -> Loss:
    """A loss known by its objective alone."""
    parts = {f"{group[0]}_{objective.name}": (loss.sum, _divisor(loss))}
    return dataclasses.replace(loss, parts=parts)


def _divisor(loss: Loss) -> Tensor:
    return loss.predictions.float() if loss.divisor is None else loss.divisor


def _flops(own: Cost, whole: Cost, shape: EncoderShape, example: Example) -> float:
    """Forward FLOPs of one part beyond the encoder passes that the whole is charged for."""
    rows, length = example.inputs.shape
    return (
        example.labels.numel() * own.flops_per_prediction
        + rows * length * own.flops_per_position
        + rows * (own.encoder_passes - whole.encoder_passes) * encoder_row_flops(shape, length)
    )
