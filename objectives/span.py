"""Span masking: runs of whole words are hidden (SpanBERT; its boundary objective is a setting).

    an  American  football  game  was  played      start drawn at `football`, length 3 words
    an  American  [MASK]    [MASK] [MASK] played    one draw of mask/random/keep for the run

Lengths are geometric, truncated to 1..10 words and renormalised: their mean is 3.797 at the paper's
p = 0.2 (clipping at 10 instead would give 4.463). Every token is the start with the same
probability, and the start moves to the beginning of its word. A start inside a chosen run is
rejected. Drawing stops at the quota. Adjacent runs merge before replacement. `boundary=True`
predicts each hidden token a second time, from the two tokens next to its run, and adds that loss.

Differs: the last run is trimmed to whole words where the release cuts through a word (`trim`), so
the realised rate is slightly below the nominal rate. Runs end at the end of a document.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from bench.pretraining.corruption.spans import (
    exceeding,
    ordered_positions,
    run_edges,
    truncated_geometric,
)
from bench.pretraining.objective import Cost, MaskedObjective
from bench.pretraining.rates import highest_rate
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Batch, Example, Loss
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


@settings
class Span(MaskedObjective):
    """Hide runs of words."""

    name: ClassVar[str] = "span"
    summary: ClassVar[str] = "masked language model over runs of words"
    source: ClassVar[str] = "Joshi et al. 2020, sec. 3.1"

    mean_length: Annotated[float, Field(ge=1.0, le=50.0)] = 3.7971
    """Mean length of a run in words, after truncation (3.7971: geometric with p = 0.2)."""
    max_length: Annotated[int, Field(ge=1, le=100)] = 10
    """Maximum length of a run, in words."""
    trim: Literal["word", "token"] = "word"
    """Unit at which the last run ends when the quota is met: a whole word or any token."""
    draw: Literal["token", "word", "span"] = "span"
    """Unit with one draw of mask, random or keep: a token, a word or a run of chosen tokens."""
    boundary: bool = False
    """Add SpanBERT's boundary loss: predict each hidden token also from its run's neighbours."""

    @model_validator(mode="after")
    def _mean_is_possible(self) -> Span:
        if self.mean_length > (self.max_length + 1) / 2:
            raise ValueError(
                f"mean_length {self.mean_length} is too large for max_length "
                f"{self.max_length}; the maximum is {(self.max_length + 1) / 2}"
            )
        return self

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        words = self.words(batch) & batch.real
        first, after = self._draw_runs(batch, words, noise)
        at = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        quota = self.quota(batch)[:, None]
        chosen = torch.zeros_like(batch.real)
        last_run = torch.zeros_like(chosen)
        for run in range(first.shape[1]):  # a loop over runs, not tokens: about 40 for a row of 512
            start, end = first[:, run : run + 1], after[:, run : run + 1]
            accepted = ~chosen.gather(1, start) & (chosen.sum(1, keepdim=True) < quota)
            added = (at >= start) & (at < end) & accepted & ~chosen
            last_run = torch.where(accepted, added, last_run)
            chosen = chosen | added
        room = quota - (chosen & ~last_run).sum(1, keepdim=True)
        units = words if self.trim == "word" else batch.real
        return chosen & ~exceeding(last_run, units, room)

    def _draw_runs(
        self, batch: Batch, starts: Bool[Tensor, "B L"], noise: Noise
    ) -> tuple[Int[Tensor, "B R"], Int[Tensor, "B R"]]:
        """First token of each candidate run, and the token after its last, in the order drawn."""
        rows, length = batch.tokens.shape
        # Randomly drawn runs leave a token uncovered with probability exp(-runs x mean / length).
        # Half as many runs again, and eight more for short rows, make a shortage of runs rare.
        needed = -math.log1p(-min(highest_rate(self.rate), 0.98)) * length / self.mean_length
        shape = (rows, int(1.5 * needed) + 8)
        ordinal = (noise.uniform("starts", shape) * batch.real.sum(1, keepdim=True)).long()
        token = ordered_positions(batch.real).gather(1, ordinal).clamp(max=length - 1)
        in_word = starts.long().cumsum(1).gather(1, token)
        beginnings = ordered_positions(starts)
        first = beginnings.gather(1, (in_word - 1).clamp(min=0)).clamp(max=length - 1)
        drawn = noise.uniform("lengths", shape)
        last_word = in_word - 1 + truncated_geometric(drawn, self.mean_length, self.max_length)
        after = torch.nn.functional.pad(beginnings, (0, 1), value=length)
        after = after.gather(1, last_word.clamp(max=length))
        # A run never extends beyond the next gap (a separator or padding).
        gap = run_edges(batch.real)[1] + 1
        return first, torch.minimum(after, gap.gather(1, token))

    @property
    def has_own_head(self) -> bool:  # `mixture` and `biphasic` share ordinary token heads
        return self.boundary

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        from bench.pretraining.heads import BoundaryHead

        return BoundaryHead(shape) if self.boundary else super().head(shape, vocabulary)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import boundary_loss, token_loss

        return (boundary_loss if self.boundary else token_loss)(encoder, head, example)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        cost = super().extra_cost(shape)
        if not self.boundary:
            return cost
        width, vocab_size = shape.hidden_size, shape.vocab_size
        vectors = 4 * width + 2 + shape.max_length  # two layers, two norms, one vector per place
        return Cost(
            flops_per_prediction=cost.flops_per_prediction + 2.0 * width * (4 * width + vocab_size),
            parameters=cost.parameters + width * vectors + vocab_size,
        )
