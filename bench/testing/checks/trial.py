"""An objective on trial: a small encoder, its head, sample rows, and what the encoder was shown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.pretraining.batch import IGNORED
from bench.pretraining.encoder import Encoder, initialise
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
MOMENTS = (0.0, 0.5, 1.0)
"""Shares of the budget at which an objective that changes on the way is looked at."""


class Seen(NamedTuple):
    """One reading by the encoder."""

    tokens: Tensor
    attention: Attention
    extra: Tensor | None


class Trial:
    """An encoder and a head made as the training loop makes them, and all that the encoder read."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.encoder = Encoder(SHAPE, 0)
        with torch.random.fork_rng(devices=[]):
            self.head: nn.Module = objective.head(SHAPE, VOCABULARY)
        initialise(self.head, 0, "head")
        self.seen: list[Seen] = []
        self.encoder.register_forward_pre_hook(self._note, with_kwargs=True)

    def loss(self, batch: Batch, seed: int = 0, epoch: int = 0) -> tuple[Example, Loss]:
        """Corrupt and ask, once."""
        noise = noise_for(batch, seed, epoch)
        example = self.objective.corrupt(batch, VOCABULARY, noise)
        return example, self.objective.loss(self.encoder, self.head, example, noise)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of encoder and head, each once."""
        return [*self.encoder.parameters(), *self.head.parameters()]

    def _note(self, _: nn.Module, given: tuple[object, ...], named: dict[str, object]) -> None:
        by_name = dict(zip(("tokens", "attention", "extra"), given, strict=False)) | named
        tokens, extra = by_name["tokens"], by_name.get("extra")
        assert isinstance(tokens, Tensor)
        kept = extra.detach() if isinstance(extra, Tensor) else None
        self.seen.append(Seen(tokens.clone(), by_name["attention"], kept))  # type: ignore[arg-type]


def noise_for(batch: Batch, seed: int = 0, epoch: int = 0) -> Noise:
    """The noise that the loop would give a batch."""
    return Noise(seed, epoch, batch.example_ids)


def sampled(
    objective: Objective,
    progress: float = 0.0,
    seed: int = 0,
    rows: int = ROWS,
    mined_seeds: Sequence[int] = (0, 1),
) -> Batch:
    """Rows to try an objective on, with what it mines from others.

    Args:
        objective: Which one.
        progress: Share of the budget spent.
        seed: Of the rows.
        rows: How many.
        mined_seeds: Rows that the objective mines, three times over so that all of it repeats;
            by default these very rows are among them.
    """
    batch = sample_batch(rows, LENGTH, seed, vocabulary=VOCABULARY)
    text = [sample_batch(ROWS, LENGTH, one, vocabulary=VOCABULARY) for one in mined_seeds]
    statistics = objective.collect_statistics(iter(text * 3), VOCABULARY)
    return dataclasses.replace(batch, progress=progress, statistics=statistics)


def moments(objective: Objective) -> list[float]:
    """The shares of the budget at which an objective makes something else of the same rows.

    One for most, more for schedules and phases; nothing but the example tells a loss the time.
    """
    batch, known, found = sampled(objective), list[dict[str, Tensor]](), []
    for progress in MOMENTS:
        made = tensors_of(corrupted(objective, dataclasses.replace(batch, progress=progress)))
        if all(differing(made, other) for other in known):
            known.append(made)
            found.append(progress)
    return found


def with_mined(objective: Objective, batch: Batch) -> Batch:
    """Other rows with what the objective mines from the sampled ones."""
    return dataclasses.replace(batch, statistics=sampled(objective).statistics)


def tensors_of(example: Example) -> dict[str, Tensor]:
    """All tensors of an example by the name a person would look for."""
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
    """Same kind, shape and values; NaN equals NaN."""
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.nan_to_num(), other.nan_to_num())
    )


def origins_of(example: Example) -> Tensor:
    """For each input the position of the text it stands at; the same one if not said."""
    if example.origins is not None:
        return example.origins
    return torch.arange(example.inputs.shape[1]).expand_as(example.inputs)


def corrupted(objective: Objective, batch: Batch, seed: int = 0) -> Example:
    """What the objective makes of a batch."""
    return objective.corrupt(batch, VOCABULARY, noise_for(batch, seed))


def asked_of(example: Example) -> tuple[Tensor, Tensor, Tensor]:
    """Row, input position and label of all that is asked."""
    rows, slots = (example.labels != IGNORED).nonzero(as_tuple=True)
    at = slots if example.positions is None else example.positions[rows, slots]
    return rows, at, example.labels[rows, slots]


def first(found: Tensor) -> int | None:
    """The first of some numbers, for a message; None of none."""
    return int(found[0]) if found.numel() else None


def spot_of(marked: Tensor) -> str:
    """Where the first marked position is, in words."""
    rows, at = marked.nonzero(as_tuple=True)
    return f"position {first(at)} of row {first(rows)}"
