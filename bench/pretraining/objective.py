"""The contract of an objective: it hides something and asks for it back.

It owns corruption and loss, never optimizer, schedule, device, logging or seeds. Which positions,
how the input shows them and what the target is are three independent choices (Raffel et al. 2020),
so "whole word against token" is never secretly "100/0/0 against 80/10/10".
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, model_validator

from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.settings import Fraction, as_mapping, settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


Scoring = Literal["masked", "shifted", "causal"]
"""Hidden tokens; hidden tokens, each predicted one position to its left; next tokens."""


def _rates(value: float | str) -> tuple[float, float]:
    """Where a rate begins and where it ends."""
    start, arrow, end = str(value).partition("->")
    return float(start), float(end if arrow else start)


def _checked(value: float | str) -> float | str:
    try:
        fits = all(0.0 <= rate <= 1.0 for rate in _rates(value))
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{value!r} is neither a number from 0 to 1 nor two of them: 0.30->0.15")
    return value if "->" in str(value) else float(value)


Rate = Annotated[float | str, AfterValidator(_checked)]
"""A share of tokens, or where a linear schedule begins and ends: `0.30->0.15`."""


def rate_at(rate: float | str, progress: float) -> float:
    """The rate after a share of the budget (Ankner et al. 2024: linear from high to low)."""
    start, end = _rates(rate)
    return start + (end - start) * progress


def highest_rate(rate: float | str) -> float:
    """The most it ever is: what fixed shapes must hold."""
    return max(_rates(rate))


@dataclasses.dataclass(frozen=True)
class Cost:
    """What an objective adds to the encoder: forward FLOPs and parameters."""

    flops_per_prediction: float = 0.0
    flops_per_position: float = 0.0
    parameters: int = 0
    encoder_passes: int = 1
    """Encoder forward passes a training step makes over its batch."""


@settings
class Objective(ABC):
    """A pretraining objective. Its fields are its settings; an instance is what they say."""

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    scoring: ClassVar[Scoring | None] = None
    """How a finished run scores a sentence; None: not at all, it predicts no tokens."""
    attention: ClassVar[Literal["full", "causal"]] = "full"
    """The attention under which its features are read."""
    trains: ClassVar[bool] = True
    """False: zero steps, whatever the budget (the untrained control)."""

    @abstractmethod
    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        """Hide something. Pure, vectorised, on the batch's device; never changes the batch."""

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        """What is trained beside the encoder and is no part of what probes read."""
        from bench.pretraining.heads import TokenHead  # modules need torch; settings do not

        return TokenHead(shape)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        """The sum of the loss over predictions, in nats, and their count."""
        from bench.pretraining.heads import token_loss

        return token_loss(encoder, head, example)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """The head's FLOPs and parameters; override with `head`."""
        width, vocab_size = shape.hidden_size, shape.vocab_size
        return Cost(
            flops_per_prediction=2.0 * width * (width + vocab_size),
            parameters=width * width + width + vocab_size,
        )

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        """Learn from the training part before the first step; comes back as `Batch.statistics`.

        Args:
            batches: The training part from its beginning, bounded, uncorrupted.
            vocabulary: Of the tokens.
        """
        return {}

    def ingredients(self) -> tuple[Objective, ...]:
        """The objectives it is made of; their code is part of its identity."""
        return ()

    @property
    def display_name(self) -> str:
        """The name, with the settings that are not the default ones."""
        defaults = as_mapping(type(self)())
        changed = [
            f"{name}={value}" for name, value in as_mapping(self).items() if value != defaults[name]
        ]
        return f"{self.name}[{','.join(changed)}]" if changed else self.name


@settings
class DrawnObjective(Objective):
    """Draws what it hides, anew in every epoch or once and for all."""

    masking: Literal["dynamic", "static"] = "dynamic"
    """`static`: the same corruption in every epoch."""

    def settled(self, noise: Noise) -> Noise:
        """The noise to draw from."""
        return noise.static() if self.masking == "static" else noise


@settings
class MaskedObjective(DrawnObjective):
    """Hides some tokens and asks for them back; a subclass writes only `choose`."""

    scoring: ClassVar[Scoring | None] = "masked"

    rate: Rate = 0.15
    """Share of a row's ordinary tokens that are predicted; `0.30->0.15` moves over the budget."""
    mask_fraction: Fraction = 0.8
    """Share of the predicted tokens shown as [MASK]; what is left over is shown unchanged."""
    random_fraction: Fraction = 0.1
    """Share of the predicted tokens shown as a random ordinary token."""
    draw: Literal["token", "word", "span"] = "token"
    """What shares one draw of mask, random or keep: a token, a word, a run of chosen tokens."""

    @model_validator(mode="after")
    def _fractions_fit(self) -> MaskedObjective:
        if self.mask_fraction + self.random_fraction > 1 + 1e-9:
            raise ValueError("mask_fraction + random_fraction must not exceed 1")
        return self

    @abstractmethod
    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        """The positions to predict: ordinary tokens, at most `quota` of them in each row."""

    def quota(self, batch: Batch) -> Int[Tensor, " B"]:
        """How many tokens of each row to predict: the nearest whole number to rate x tokens."""
        rate = rate_at(self.rate, batch.progress)
        return (batch.real.sum(1) * rate + 0.5).long()

    def capacity(self, batch: Batch) -> int:
        """The most tokens a row may be asked for: known without looking, the same all along."""
        return int(batch.tokens.shape[1] * highest_rate(self.rate) + 0.5)

    def predicted(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        """Positions and labels of what `choose` marks; in unused slots 0 and `IGNORED`."""
        from bench.pretraining.corruption.sampling import gather_predicted

        return gather_predicted(batch.tokens, self.choose(batch, noise), self.capacity(batch))

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        """Choose positions, then show each as [MASK], a random token or itself."""
        noise = self.settled(noise)
        positions, labels = self.predicted(batch, noise)
        if self.draw == "token":
            policy, replacement = noise.two_uniforms_at("policy", positions)
        else:
            policy = noise.uniform_at("policy", self._unit_starts(batch, positions, labels))
            replacement = noise.uniform_at("replacement", positions)
        shown = torch.where(
            policy < self.mask_fraction, vocabulary.mask_id, vocabulary.draw_ordinary(replacement)
        )
        kept = policy >= self.mask_fraction + self.random_fraction
        inputs = write_tokens(batch.tokens, positions, torch.where(kept, labels, shown), labels)
        return Example(inputs, Attention("full", batch.attention_mask), labels, positions)

    def _unit_starts(
        self, batch: Batch, positions: Int[Tensor, "B K"], labels: Int[Tensor, "B K"]
    ) -> Int[Tensor, "B K"]:
        """For each predicted position the one whose draw decides how it is shown."""
        starts = batch.word_start
        if self.draw == "span":
            chosen = write_tokens(
                torch.zeros_like(batch.tokens), positions, torch.ones_like(labels), labels
            )
            starts = (chosen - torch.nn.functional.pad(chosen[:, :-1], (1, 0))) == 1
        at = torch.arange(starts.shape[1], device=starts.device)
        return torch.where(starts, at, 0).cummax(1).values.gather(1, positions)


@settings
class UnitObjective(MaskedObjective):
    """Hides whole units in random order up to the quota; a subclass writes only `units`."""

    @abstractmethod
    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        """The first token of each unit; it reaches to the next, or to the end of the text."""

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        from bench.pretraining.corruption.sampling import choose_units

        return choose_units(*self._asked(batch), noise)

    def predicted(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        """Straight from the units drawn: marking all positions first costs as much again."""
        from bench.pretraining.corruption.sampling import unit_positions

        positions, filled = unit_positions(*self._asked(batch), noise)
        return positions, batch.tokens.gather(1, positions).masked_fill_(~filled, IGNORED)

    def _asked(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, int]:
        return self.units(batch), batch.real, self.quota(batch), self.capacity(batch)


def write_tokens(
    tokens: Int[Tensor, "B L"],
    positions: Int[Tensor, "B K"],
    values: Int[Tensor, "B K"],
    labels: Int[Tensor, "B K"],
) -> Int[Tensor, "B L"]:
    """The tokens with other values at some positions; slots without a label write nothing.

    Those write to a column past the end: two writes to one place have no order.
    """
    rows, length = tokens.shape
    written = tokens.new_empty(rows, length + 1)
    written[:, :length] = tokens
    slots = torch.where(labels == IGNORED, length, positions)
    return written.scatter_(1, slots, values)[:, :length]
