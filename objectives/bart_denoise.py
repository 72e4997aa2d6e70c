"""Denoising (BART): the text is corrupted in any of six ways, and a decoder writes all of it.

    A  B  .  C  D  E  .             two sentences; what follows is done to it in this order
    C  D  E  .  A  B  .             sentences permuted
    C  [M]   .  [M]   A  B  .       spans of words infilled, one mask each; a span of none is put in
    C  [M]   [M]   A  B  .          tokens deleted
    C  [M]   [M]   [M]   B  .       tokens masked
    C  [M]   [M]   [M]   X  .       tokens replaced by random ones
    [M]   X  .  C  [M]   [M]        the document rotated to begin anywhere
    A  B  .  C  D  E  .             what the decoder writes, always

[M] is [MASK]. The defaults are BART-large's: all sentences permuted, and 30 % of the words infilled
by spans of Poisson(3) words. One corruption alone is a row of the paper's own ablation:
`permute_rate=0 infill_rate=0 mask_rate=0.15`.

A row is packed from documents. Separators stay and end them: sentences move and documents turn
between two separators, and a span is cut by one. They are shown to the decoder, never asked for.

Differs: spans do not overlap, so that 30 % are 30 % (fairseq's cover 27 %), and lie on a circle of
the row's words, so that all are hidden equally often; every draw follows from the seed; masks are
put in only while the row has room; a decoder of the encoder's own kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.corruption import edits as corruptions
from bench.pretraining.corruption.drafts import Draft
from bench.pretraining.decoding import DecodedObjective, shift_right
from bench.pretraining.objective import Rate, highest_rate
from bench.settings import settings

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class BartDenoise(DecodedObjective):
    """Write the original of a corrupted text."""

    name: ClassVar[str] = "bart_denoise"
    summary: ClassVar[str] = "the text corrupted in six ways; a decoder writes the original"
    source: ClassVar[str] = "Lewis et al. 2020, sec. 2.2 and 5.1"

    permute_rate: Rate = 1.0
    """Share of a row's sentences that change places, within their documents."""
    infill_rate: Rate = 0.3
    """Share of a row's words hidden by spans, one [MASK] each."""
    mean_length: Annotated[float, Field(ge=1.0, le=50.0)] = 3.0
    """Mean of the Poisson distribution of a span's length in words; length 0 is a [MASK] put in."""
    delete_rate: Rate = 0.0
    """Share of the tokens left that are deleted."""
    mask_rate: Rate = 0.0
    """Share of the tokens left that are shown as [MASK]."""
    replace_rate: Rate = 0.0
    """Share of the tokens left that are shown as random ordinary tokens."""
    rotate_rate: Rate = 0.0
    """Chance of each document to be rotated to begin with any of its tokens."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        noise = self.settled(noise)
        draft = Draft.of(batch)
        given = (batch, vocabulary)
        if highest_rate(self.permute_rate):
            draft = corruptions.permute_sentences(draft, *given, self.permute_rate, noise)
        if highest_rate(self.infill_rate):
            draft = corruptions.infill(draft, *given, self.infill_rate, self.mean_length, noise)
        for corruption, rate in (
            (corruptions.delete, self.delete_rate),
            (corruptions.mask, self.mask_rate),
            (corruptions.replace, self.replace_rate),
            (corruptions.rotate_documents, self.rotate_rate),
        ):
            if highest_rate(rate):
                draft = corruption(draft, *given, rate, noise)
        return Example(
            draft.tokens,
            Attention("full", draft.attention_mask),
            torch.where(batch.real, batch.tokens, IGNORED),
            origins=draft.origins,
            extras={"written": shift_right(batch.tokens, vocabulary.sep_id, vocabulary.pad_id)},
        )
