"""The setup for checks of an objective: a small encoder, the head, sample rows, tensor helpers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.pretraining.batch import IGNORED
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initial_head
from bench.pretraining.noise import Noise
from bench.spec import EncoderShape
from bench.testing.samples import SCATTERED_VOCABULARY, sample_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from bench.pretraining.batch import Attention, Batch, Example, Loss
    from bench.pretraining.objective import Objective

VOCABULARY = SCATTERED_VOCABULARY
ROWS, LENGTH = 6, 24
SHAPE = EncoderShape(
    hidden_size=32, num_layers=2, num_heads=4, mlp_size=48, max_length=LENGTH,
    vocab_size=VOCABULARY.size,
)  # fmt: skip
PROGRESS_VALUES = (0.0, 0.5, 1.0)
"""Shares of the budget at which an objective with a schedule is checked."""


class EncoderCall(NamedTuple):
    """The arguments of one encoder pass."""

    tokens: Tensor
    attention: Attention
    extra: Tensor | None


class Trial:
    """An encoder and a head, built as the training loop builds them, and all encoder passes."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.encoder = Encoder(SHAPE, 0)
        self.head: nn.Module = initial_head(lambda: objective.head(SHAPE, VOCABULARY), 0)
        self.calls: list[EncoderCall] = []
        self.encoder.register_forward_pre_hook(self._record, with_kwargs=True)

    def loss(self, batch: Batch, seed: int = 0, epoch: int = 0) -> tuple[Example, Loss]:
        """Corrupt a batch and compute its loss."""
        noise = noise_for(batch, seed, epoch)
        example = self.objective.corrupt(batch, VOCABULARY, noise)
        return example, self.objective.loss(self.encoder, self.head, example, noise)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters of encoder and head, each once."""
        return [*self.encoder.parameters(), *self.head.parameters()]

    def _record(
        self, _: nn.Module, arguments: tuple[object, ...], keywords: dict[str, object]
    ) -> None:
        by_name = dict(zip(("tokens", "attention", "extra"), arguments, strict=False)) | keywords
        tokens, extra = by_name["tokens"], by_name.get("extra")
        assert isinstance(tokens, Tensor)
        detached = extra.detach() if isinstance(extra, Tensor) else None
        self.calls.append(EncoderCall(tokens.clone(), by_name["attention"], detached))  # type: ignore[arg-type]


def noise_for(batch: Batch, seed: int = 0, epoch: int = 0) -> Noise:
    """The noise that the training loop uses for a batch."""
    return Noise(seed, epoch, batch.example_ids)


def sample_rows(
    objective: Objective,
    progress: float = 0.0,
    seed: int = 0,
    rows: int = ROWS,
    statistics_seeds: Sequence[int] = (0, 1),
) -> Batch:
    """Rows for an objective, with the statistics that it collects from other rows.

    Args:
        objective: The objective.
        progress: Share of the budget spent.
        seed: Seed of the rows.
        rows: Number of rows.
        statistics_seeds: Seeds of the rows for the statistics. They are read three times, so that
            every token run repeats; by default the returned rows are among them.
    """
    batch = sample_batch(rows, LENGTH, seed, vocabulary=VOCABULARY)
    text = [sample_batch(ROWS, LENGTH, one, vocabulary=VOCABULARY) for one in statistics_seeds]
    statistics = objective.collect_statistics(iter(text * 3), VOCABULARY)
    return dataclasses.replace(batch, progress=progress, statistics=statistics)


def progress_values(objective: Objective) -> list[float]:
    """The shares of the budget at which an objective corrupts the same rows differently.

    Most objectives have one; schedules and phases have more. A loss knows the progress only through
    its example.
    """
    batch, known, values = sample_rows(objective), list[dict[str, Tensor]](), []
    for progress in PROGRESS_VALUES:
        tensors = tensors_of(corrupt_rows(objective, dataclasses.replace(batch, progress=progress)))
        if all(differing(tensors, other) for other in known):
            known.append(tensors)
            values.append(progress)
    return values


def with_statistics(objective: Objective, batch: Batch) -> Batch:
    """Other rows with the statistics of the sample rows."""
    return dataclasses.replace(batch, statistics=sample_rows(objective).statistics)


def tensors_of(example: Example) -> dict[str, Tensor]:
    """All tensors of an example by the name of their field."""
    attention = {
        "attention.attention_mask": example.attention.attention_mask,
        "attention.prefix_lengths": example.attention.prefix_lengths,
    }
    own = {
        "inputs": example.inputs,
        "labels": example.labels,
        "positions": example.positions,
        "origins": example.origins,
    }
    extras = {f"extras[{name!r}]": value for name, value in example.extras.items()}
    return {k: v for k, v in (own | attention | extras).items() if v is not None}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not equal."""
    return [
        name
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or not same(one[name], other[name])
    ]


def same(one: Tensor, other: Tensor) -> bool:
    """Equal dtype, shape and values; NaN equals NaN."""
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.nan_to_num(), other.nan_to_num())
    )


def origins_of(example: Example) -> Tensor:
    """For each input its position in the text; the same position where `origins` is None."""
    if example.origins is not None:
        return example.origins
    return torch.arange(example.inputs.shape[1]).expand_as(example.inputs)


def corrupt_rows(objective: Objective, batch: Batch, seed: int = 0) -> Example:
    """The example that the objective makes of a batch."""
    return objective.corrupt(batch, VOCABULARY, noise_for(batch, seed))


def predictions_of(example: Example) -> tuple[Tensor, Tensor, Tensor]:
    """Row, input position and label of every prediction."""
    rows, slots = (example.labels != IGNORED).nonzero(as_tuple=True)
    at = slots if example.positions is None else example.positions[rows, slots]
    return rows, at, example.labels[rows, slots]


def first(numbers: Tensor) -> int | None:
    """The first of some numbers, for a message; None where there is none."""
    return int(numbers[0]) if numbers.numel() else None


def spot_of(mask: Tensor) -> str:
    """The first position where a mask is true, as text for a message."""
    rows, at = mask.nonzero(as_tuple=True)
    return f"position {first(at)} of row {first(rows)}"
