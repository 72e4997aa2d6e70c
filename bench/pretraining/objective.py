"""The contract of an objective: how a text is corrupted, and the loss that recovers it.

An objective owns corruption and loss, never optimizer, schedule, device, logging or seeds. The
choice of positions, the replacement policy and the target are three independent settings (Raffel
et al. 2020). So a comparison of whole-word with token masking cannot also differ in its policy,
such as 100/0/0 against 80/10/10 (% [MASK], random, unchanged).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import model_validator

from bench.errors import BenchError, refuse_misspelt_methods, source_of
from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.ledger import Cost as Cost
from bench.pretraining.rates import Rate, highest_rate, rate_at
from bench.settings import Fraction, as_mapping, settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


Scoring = Literal["masked", "shifted", "causal"]
"""The tokens that a language model head predicts.

`masked`: hidden tokens at their own position; `shifted`: hidden tokens, each from the position to
its left; `causal`: next tokens.
"""


@settings
class Objective(ABC):
    """A pretraining objective. The fields of a subclass are its settings.

    Examples:
        >>> import bench
        >>> from bench.objectives.token import Token
        >>> issubclass(Token, bench.Objective)
        True
        >>> Token(rate=0.4).display_name
        'token[rate=0.4]'
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    scoring: ClassVar[Scoring | None] = None
    """How a finished run scores a sentence; None if the objective predicts no tokens."""
    attention: ClassVar[Literal["full", "causal"]] = "full"
    """The native attention: the pattern under which probes extract features."""
    other_predictions: ClassVar[str] = ""
    """The predictions of the loss that are not among the labels of `corrupt`, for `bench show`."""
    trains: ClassVar[bool] = True
    """False: the run makes zero steps for any budget (the untrained baseline)."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_misspelt_methods(cls)

    @abstractmethod
    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        """Corrupt a batch: a pure, vectorised function on the batch's device.

        Args:
            batch: Rows of text, B x L; the method must not change them.
            vocabulary: Special and ordinary token ids.
            noise: The only source of random numbers.
        """

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        """The module that is trained with the encoder; probes do not see it."""
        from bench.pretraining.heads import TokenHead  # modules need torch; settings do not

        return TokenHead(shape)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        """The sum of the loss over all predictions, in nats, and the number of predictions."""
        from bench.pretraining.heads import token_loss

        return token_loss(encoder, head, example)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """FLOPs and parameters of the head; override this method together with `head`."""
        width, vocab_size = shape.hidden_size, shape.vocab_size
        return Cost(
            flops_per_prediction=2.0 * width * (width + vocab_size),
            parameters=width * width + width + vocab_size,
        )

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        """Compute statistics of the training part before the first step.

        Every later batch carries them as `Batch.statistics`.

        Args:
            batches: Uncorrupted batches from the beginning of the training part. Their total
                number of tokens is bounded.
            vocabulary: Special and ordinary token ids.
        """
        return {}

    @property
    def feedback_steps(self) -> int:
        """Optimizer steps between two calls of `adapt`; 0: the objective has no feedback."""
        return 0

    def adapt(
        self, statistics: Mapping[str, Tensor], counters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the statistics of later training batches from the model's own predictions.

        The method is a pure function. Held-out batches keep the statistics of
        `collect_statistics`, so that validation losses of all steps are comparable.

        Args:
            statistics: The statistics of the batches so far.
            counters: The sums of `Loss.counters` over the last `feedback_steps` steps.
        """
        raise NotImplementedError(f"objective {self.name!r} has feedback and no method `adapt`")

    @property
    def rows_together(self) -> int:
        """Rows of a step whose loss is computed together; 1: the loss of a row is its own.

        The rows of a step are cut into groups of this size, in their order. A micro-batch consists
        of whole groups, so the loss does not depend on the memory of the machine. The last group,
        or the only one, has fewer rows if the step has no more. `corrupt` sees each row alone.
        """
        return 1

    def ingredients(self) -> tuple[Objective, ...]:
        """The objectives that this one combines; their code is part of its identity."""
        return ()

    @property
    def has_own_head(self) -> bool:
        """Whether head or loss differ from those of `Objective`, which a mixture can share.

        An objective that overrides `head`, `loss` or `extra_cost` only for some settings can
        override this property too.
        """
        methods = ("head", "loss", "extra_cost")
        return any(getattr(type(self), m) is not getattr(Objective, m) for m in methods)

    @property
    def display_name(self) -> str:
        """The name, followed by the settings that differ from their defaults."""
        defaults = as_mapping(type(self)())
        changed = [
            f"{name}={value}" for name, value in as_mapping(self).items() if value != defaults[name]
        ]
        return f"{self.name}[{','.join(changed)}]" if changed else self.name


@settings
class DrawnObjective(Objective):
    """An objective whose corruption is random: new in every epoch (dynamic) or fixed (static)."""

    masking: Literal["dynamic", "static"] = "dynamic"
    """`dynamic`: a new corruption in every epoch; `static`: the same one in every epoch."""

    def settled(self, noise: Noise) -> Noise:
        """The noise for all draws of the objective: without the epoch if masking is static."""
        return noise.static() if self.masking == "static" else noise


@settings
class MaskedObjective(DrawnObjective):
    """Hides some tokens and predicts them; a subclass implements only `choose`.

    Examples:
        >>> from typing import ClassVar
        >>> import bench
        >>> @bench.settings
        ... class FirstTokens(bench.MaskedObjective):
        ...     name: ClassVar[str] = "first_tokens"
        ...     summary: ClassVar[str] = "hides the first tokens of each row"
        ...     source: ClassVar[str] = "an example"
        ...     def choose(self, batch, noise):
        ...         return batch.real & (batch.real.cumsum(1) <= self.quota(batch)[:, None])
        >>> FirstTokens(rate=0.3).display_name
        'first_tokens[rate=0.3]'
    """

    scoring: ClassVar[Scoring | None] = "masked"

    rate: Rate = 0.15
    """Share of a row's ordinary tokens to predict; `0.30->0.15` is linear in the budget spent."""
    mask_fraction: Fraction = 0.8
    """Share of the predicted tokens shown as [MASK]; the rest, less random ones, is unchanged."""
    random_fraction: Fraction = 0.1
    """Share of the predicted tokens shown as a random ordinary token."""
    draw: Literal["token", "word", "span"] = "token"
    """Unit that shares one replacement draw: a token, a word, or a span (run of chosen tokens)."""

    @model_validator(mode="after")
    def _check_fractions(self) -> MaskedObjective:
        if self.mask_fraction + self.random_fraction > 1 + 1e-9:
            total = self.mask_fraction + self.random_fraction
            raise ValueError(f"mask_fraction + random_fraction must not exceed 1; got {total:g}")
        return self

    @abstractmethod
    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        """The positions to predict: ordinary tokens, at most `quota` of them in each row."""

    def quota(self, batch: Batch) -> Int[Tensor, " B"]:
        """The number of tokens to predict in each row: rate x ordinary tokens, rounded."""
        rate = rate_at(self.rate, batch.progress)
        return (batch.real.sum(1) * rate + 0.5).long()

    def words(self, batch: Batch) -> Bool[Tensor, "B L"]:
        """The first token of each word; a word longer than its row's quota counts as tokens.

        `choose` takes words from here and not from `batch.word_start`, or it would choose nothing
        in a text whose words are very long, such as one without spaces.
        """
        from bench.pretraining.corruption.units import cut_units

        return cut_units(batch.word_start, batch.real, self.quota(batch), batch.real)

    def capacity(self, batch: Batch) -> int:
        """The maximum number of predictions in a row, K.

        It depends only on the length of a row and is constant during a run: shapes are fixed.
        """
        return int(batch.tokens.shape[1] * highest_rate(self.rate) + 0.5)

    def predicted_positions(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        """Positions that `choose` marks, and their labels; 0 and `IGNORED` in unused slots."""
        from bench.pretraining.corruption.sampling import gather_predicted

        chosen = self._checked_mask("choose", self.choose(batch, noise), batch)
        return gather_predicted(batch.tokens, chosen, self.capacity(batch))

    def _checked_mask(self, method: str, mask: Tensor, batch: Batch) -> Tensor:
        """The mask that a method returned, refused if it is not one truth value for each token."""
        shape = batch.tokens.shape
        if mask.dtype != torch.bool or mask.shape != shape:
            kind = str(mask.dtype).removeprefix("torch.")
            raise BenchError(
                f"expected {method} to return bool{list(shape)}, one truth value for each token; "
                f"saw {kind}{list(mask.shape)}; look at {source_of(type(self), method)}"
            )
        return mask

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        """Choose positions, then replace each token by [MASK] or a random one, or keep it."""
        noise = self.settled(noise)
        positions, labels = self.predicted_positions(batch, noise)
        if self.draw == "token":
            policy, replacement = noise.two_uniforms_at("policy", positions)
        else:
            policy = noise.uniform_at("policy", self._unit_starts(batch, positions, labels))
            replacement = noise.uniform_at("replacement", positions)
        shown = torch.where(
            policy < self.mask_fraction, vocabulary.mask_id, vocabulary.draw_ordinary(replacement)
        )
        is_unchanged = policy >= self.mask_fraction + self.random_fraction
        values = torch.where(is_unchanged, labels, shown)
        inputs = write_tokens(batch.tokens, positions, values, labels)
        return Example(inputs, Attention("full", batch.attention_mask), labels, positions)

    def _unit_starts(
        self, batch: Batch, positions: Int[Tensor, "B K"], labels: Int[Tensor, "B K"]
    ) -> Int[Tensor, "B K"]:
        """For each predicted position, the start of its unit, whose draw sets the replacement."""
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
    """Hides whole units in random order up to the quota; a subclass implements only `units`."""

    @abstractmethod
    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        """The first token of each unit, which ends at the next one or at the end of the text."""

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        from bench.pretraining.corruption.sampling import choose_units

        return choose_units(*self._unit_arguments(batch), noise)

    def predicted_positions(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        """The positions of the chosen units, without the mask of `choose`.

        Computing the mask first would double the cost.
        """
        from bench.pretraining.corruption.sampling import unit_positions

        positions, filled = unit_positions(*self._unit_arguments(batch), noise)
        return positions, batch.tokens.gather(1, positions).masked_fill_(~filled, IGNORED)

    def _unit_arguments(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, int]:
        """The arguments of `choose_units`; a unit longer than the quota is cut."""
        from bench.pretraining.corruption.units import cut_units

        units, quota = self._checked_mask("units", self.units(batch), batch), self.quota(batch)
        if units is not batch.real:  # single tokens cannot be cut
            units = cut_units(units, batch.real, quota, batch.word_start, batch.real)
        return units, batch.real, quota, self.capacity(batch)


def write_tokens(
    tokens: Int[Tensor, "B L"],
    positions: Int[Tensor, "B K"],
    values: Int[Tensor, "B K"],
    labels: Int[Tensor, "B K"],
) -> Int[Tensor, "B L"]:
    """A copy of the tokens with new values at some positions; slots without a label are skipped.

    Skipped slots write to an extra column after the last, which is cut off, because the order of
    two writes to one position is undefined.
    """
    rows, length = tokens.shape
    result = tokens.new_empty(rows, length + 1)
    result[:, :length] = tokens
    slots = torch.where(labels == IGNORED, length, positions)
    return result.scatter_(1, slots, values)[:, :length]
