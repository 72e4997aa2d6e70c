"""Span masking: runs of whole words are hidden (SpanBERT without its boundary objective).

    an  American  football  game  was  played      start drawn at `football`, length 3 words
    an  American  [MASK]    [MASK] [MASK] played    one draw of mask/random/keep for the run

Lengths are geometric, truncated to 1..10 words and renormalised: mean 3.797 at the paper's p = 0.2
(clipping at 10 instead would give 4.463). A start falls on any token with equal chance and moves to
the start of its word; a start inside a chosen run is rejected; drawing stops at the quota. Runs
that touch merge before replacement.

Differs: the last run is trimmed to whole words where the release cuts through one (`trim`), so the
realised rate lies a little under the nominal one; runs end at the end of a document.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from bench.pretraining.objective import MaskedObjective, highest_rate
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.batch import Batch
    from bench.pretraining.noise import Noise


@settings
class Span(MaskedObjective):
    """Hide runs of words."""

    name: ClassVar[str] = "span"
    summary: ClassVar[str] = "masked language model over runs of words"
    source: ClassVar[str] = "Joshi et al. 2020, sec. 3.1"

    mean_length: Annotated[float, Field(ge=1.0, le=50.0)] = 3.7971
    """Mean length of a run in words, after truncation (3.7971: geometric with p = 0.2)."""
    max_length: Annotated[int, Field(ge=1, le=100)] = 10
    """Longest run, in words."""
    trim: Literal["word", "token"] = "word"
    """Where the last run ends when the quota is met: after a whole word, or anywhere."""
    draw: Literal["token", "word", "span"] = "span"
    """What shares one draw of mask, random or keep: a token, a word, a run of chosen tokens."""

    @model_validator(mode="after")
    def _mean_is_possible(self) -> Span:
        if self.mean_length > (self.max_length + 1) / 2:
            raise ValueError(
                f"mean_length {self.mean_length} is out of reach with max_length "
                f"{self.max_length}: at most {(self.max_length + 1) / 2}"
            )
        return self

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        first, after = self._draw_runs(batch, noise)
        at = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        quota = self.quota(batch)[:, None]
        chosen = torch.zeros_like(batch.real)
        last_run = torch.zeros_like(chosen)
        for run in range(first.shape[1]):  # runs, not tokens: about 40 for a row of 512
            start, end = first[:, run : run + 1], after[:, run : run + 1]
            accepted = ~chosen.gather(1, start) & (chosen.sum(1, keepdim=True) < quota)
            added = (at >= start) & (at < end) & accepted & ~chosen
            last_run = torch.where(accepted, added, last_run)
            chosen = chosen | added
        return chosen & ~self._overshoot(batch, chosen, last_run, quota)

    def _draw_runs(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B R"], Int[Tensor, "B R"]]:
        """Candidate runs in the order drawn: first token, and the token after the last."""
        rows, length = batch.tokens.shape
        # A token stays uncovered by runs drawn at random with chance exp(-runs x mean / length);
        # half as many again, and eight more for short rows, make running out of them rare.
        needed = -math.log1p(-min(highest_rate(self.rate), 0.98)) * length / self.mean_length
        shape = (rows, int(1.5 * needed) + 8)
        starts = batch.word_start & batch.real
        word = starts.long().cumsum(1)
        ordinal = (noise.uniform("starts", shape) * batch.real.sum(1, keepdim=True)).long()
        token = ordered_positions(batch.real).gather(1, ordinal).clamp(max=length - 1)
        in_word = word.gather(1, token)
        beginnings = ordered_positions(starts)
        first = beginnings.gather(1, (in_word - 1).clamp(min=0)).clamp(max=length - 1)
        last_word = in_word - 1 + self._lengths(noise.uniform("lengths", shape))
        after = torch.nn.functional.pad(beginnings, (0, 1), value=length)
        after = after.gather(1, last_word.clamp(max=length))
        # The next gap (a separator, padding) ends a run wherever its words would reach.
        at = torch.arange(length, device=token.device)
        gap = torch.where(batch.real, length, at).flip(1).cummin(1).values.flip(1)
        return first, torch.minimum(after, gap.gather(1, token))

    def _lengths(self, uniform: Tensor) -> Tensor:
        """Inverse distribution function of the truncated geometric."""
        lengths = torch.ones_like(uniform, dtype=torch.long)
        for bound in cumulative(self.mean_length, self.max_length)[:-1]:
            lengths += uniform >= bound
        return lengths

    def _overshoot(
        self, batch: Batch, chosen: Tensor, last_run: Tensor, quota: Tensor
    ) -> Bool[Tensor, "B L"]:
        """What the last run of each row holds beyond the quota."""
        room = quota - (chosen & ~last_run).sum(1, keepdim=True)
        used = last_run.long().cumsum(1)
        if self.trim == "word":  # a word counts as used up from its first token on
            word = (batch.word_start & batch.real).long().cumsum(1)
            most = used.new_zeros(used.shape[0], used.shape[1] + 1)
            used = most.scatter_reduce(1, word, used, "amax").gather(1, word)
        return last_run & (used > room)


def ordered_positions(marked: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """Positions of the marked tokens, left to right; the row's length where there are no more."""
    length = marked.shape[1]
    at = torch.arange(length, device=marked.device)
    return torch.where(marked, at, length).sort(1).values


@functools.cache
def cumulative(mean: float, longest: int) -> tuple[float, ...]:
    """Cumulative chances of lengths 1..longest: the truncated geometric of that mean."""
    low, high = 0.0, 1.0  # the mean falls as p grows: bisect
    for _ in range(60):
        p = (low + high) / 2
        weights = [(1 - p) ** k for k in range(longest)]
        found = sum((k + 1) * w for k, w in enumerate(weights)) / sum(weights)
        low, high = (p, high) if found > mean else (low, p)
    total = sum(weights)
    return tuple(sum(weights[: k + 1]) / total for k in range(longest))
