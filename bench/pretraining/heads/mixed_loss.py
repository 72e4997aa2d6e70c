"""The loss of a batch whose rows belong to several objectives.

Objectives with the ordinary token head share one head and one pass through the encoder. Each of the
others runs on its own rows, whose number varies from batch to batch, so a compiled encoder meets
new shapes. The cost of such a step is counted, not estimated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED, Attention, Example, Loss
from bench.pretraining.heads.token import token_nats

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from bench.pretraining.corruption.mixing import MixedExample
    from bench.pretraining.encoder import Encoder, SharedEncoder
    from bench.pretraining.noise import Noise
    from bench.pretraining.objective import Cost, Objective


def example_rows(example: Example, rows: Int[Tensor, " R"]) -> Example:
    """An example with the selected rows only."""

    def select(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[rows]

    attention = example.attention
    return Example(
        example.inputs[rows],
        Attention(
            attention.pattern,
            select(attention.attention_mask),
            select(attention.prefix_lengths),
            select(attention.documents),
        ),
        example.labels[rows],
        select(example.positions),
        select(example.origins),
        {name: tensor[rows] for name, tensor in example.extras.items()},
    )


def noise_rows(noise: Noise, rows: Int[Tensor, " R"]) -> Noise:
    """The noise of the selected rows."""
    epoch = noise.epoch if isinstance(noise.epoch, int) else noise.epoch[rows]
    return dataclasses.replace(noise, epoch=epoch, example_ids=noise.example_ids[rows])


def mixed_loss(
    objectives: Sequence[Objective],
    groups: Sequence[Sequence[int]],
    cost: Cost,
    encoder: Encoder,
    heads: nn.ModuleList,
    example: MixedExample,
    noise: Noise,
) -> Loss:
    """Add up the loss sums and divisors of all components.

    Args:
        objectives: The components.
        groups: Indices of the components that share a head; each other component is a group.
        cost: The declared cost of the mixture; the loss reports its FLOPs as a number of
            prediction slots at this cost.
        encoder: The shared encoder.
        heads: One head per group.
        example: The merged rows; `extras["member"]` is the component of each row.
        noise: The noise of all rows.
    """
    member = example.extras["member"]
    losses, flops = [], 0.0
    for group, head in zip(groups, heads, strict=True):
        objective, is_alone = objectives[group[0]], objectives[group[0]].has_own_head
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
            nats = token_nats(encoder, head, part).sum(1)
            losses.append(_shared_loss(objectives, group, nats, part))
        flops += _flops(objective.extra_cost(encoder.shape), cost, encoder, part)
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
    nats: Float[Tensor, " R"],
    example: Example,
) -> Loss:
    """The token loss of all rows, with the loss of each objective for the curve."""
    predictions = (example.labels != IGNORED).sum(1)
    parts = {}
    for i in group:
        is_own = example.extras["member"] == i
        parts[f"{i}_{objectives[i].name}"] = ((nats * is_own).sum(), (predictions * is_own).sum())
    return Loss(nats.sum(), predictions.sum(), parts=parts)


def _named(loss: Loss, objective: Objective, group: Sequence[int]) -> Loss:
    """The loss with its objective's name as its only part."""
    parts = {f"{group[0]}_{objective.name}": (loss.sum, _divisor(loss))}
    return dataclasses.replace(loss, parts=parts)


def _divisor(loss: Loss) -> Tensor:
    return loss.predictions.float() if loss.divisor is None else loss.divisor


def _flops(own: Cost, whole: Cost, encoder: SharedEncoder, example: Example) -> float:
    """Forward FLOPs of one component beyond the encoder passes that the mixture declares."""
    rows, length = example.inputs.shape
    return (
        example.labels.numel() * own.flops_per_prediction
        + rows * length * own.flops_per_position
        + (own.encoder_passes - whole.encoder_passes) * encoder.forward_flops(rows, length)
    )
