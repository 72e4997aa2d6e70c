"""Masked language modelling that asks for every token, hidden or not: ELECTRA's control.

    the   quick  brown  fox   jumps        2 of 5 tokens chosen at rate 0.4
    the   [MASK] brown  fox   lamp         shown as in `token`: 80/10/10
    the   quick  brown  fox   jumps        predicted: all of them

Whether an objective gains by what it asks or by how often it asks: this one corrupts as `token`
does and learns from every position. Most of what it is asked stands in front of it, and copying is
all it takes there, save that a tenth of the chosen tokens are wrong and none is marked.

Differs: the paper's variant fills the hidden places with a generator's samples and adds an explicit
copy mechanism; here the corruption is the token policy and the head is the ordinary one, so that
nothing but the number of questions separates it from `token`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import torch

from bench.pretraining.batch import IGNORED, Batch, Example
from bench.settings import settings

from .token import Token

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class AllTokensMlm(Token):
    """Hide single tokens and ask for all."""

    name: ClassVar[str] = "all_tokens_mlm"
    summary: ClassVar[str] = "control: token masking that predicts every token, hidden or not"
    source: ClassVar[str] = "Clark et al. 2020, sec. 3.4"

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        example = super().corrupt(batch, vocabulary, noise)
        labels = torch.where(batch.real, batch.tokens, IGNORED)
        return dataclasses.replace(example, labels=labels, positions=None)
