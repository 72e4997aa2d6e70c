"""Masked next-token prediction: a hidden token is predicted one position to its left.

    [CLS]  the    quick   brown  fox       original; attention covers the whole row
    [CLS]  the    [MASK]  brown  fox       `quick` is hidden at position 2
    (no)   quick  (no)    (no)   (no)      and predicted at position 1, as in a causal model

A position predicts the token that comes next, as in a causal language model. One network can
therefore be trained with both (`gpt_bert`), and a causal model can be turned into an encoder
(LLM2Vec). Rows begin with [CLS], so that every token has a left neighbour that predicts it.

With `max_length` above 1 the row is cut into pieces of 1 .. max_length tokens, each length with the
same probability, and whole pieces are hidden.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import Batch, Example
from bench.pretraining.corruption.sampling import choose_units
from bench.pretraining.objective import MaskedObjective, Scoring
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class Mntp(MaskedObjective):
    """Hide tokens and predict each one at its left neighbour."""

    name: ClassVar[str] = "mntp"
    summary: ClassVar[str] = "masked language model, each token predicted one position to its left"
    source: ClassVar[str] = "BehnamGhader et al. 2024, sec. 2.1; Lv et al. 2023"
    scoring: ClassVar[Scoring | None] = "shifted"

    max_length: Annotated[int, Field(ge=1, le=100)] = 1
    """Maximum length of a hidden piece, in tokens."""

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        # A token at position 0 has no left neighbour. Rows begin with [CLS], so there is none.
        at = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        predictable = batch.real & (at > 0)
        starts = self._piece_starts(batch, noise) & predictable
        return choose_units(starts, predictable, self.quota(batch), self.capacity(batch), noise)

    def _piece_starts(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        """First tokens of the pieces, which follow each other and restart after each gap."""
        rows, length = batch.tokens.shape
        if self.max_length == 1:
            return torch.ones_like(batch.real)
        sizes = 1 + (noise.uniform("pieces", (rows, length)) * self.max_length).long()
        first = (sizes.cumsum(1) - sizes).clamp(max=length)
        starts = torch.zeros(rows, length + 1, dtype=torch.bool, device=first.device)
        starts = starts.scatter_(1, first, True)[:, :length]
        after_gap = ~torch.nn.functional.pad(batch.real[:, :-1], (1, 0))
        return starts | after_gap

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        example = super().corrupt(batch, vocabulary, noise)
        assert example.positions is not None  # masked objectives gather the predicted positions
        return dataclasses.replace(example, positions=(example.positions - 1).clamp(min=0))
