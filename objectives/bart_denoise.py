"""Denoising (BART): six kinds of corruption change the text, and a decoder writes the original.

    A  B  .  C  D  E  .             original, two sentences; the edits follow in this order
    C  D  E  .  A  B  .             sentences are permuted
    C  [M]   .  [M]   A  B  .       one mask replaces each span of words; an empty span adds one
    C  [M]   [M]   A  B  .          tokens are deleted
    C  [M]   [M]   [M]   B  .       tokens are masked
    C  [M]   [M]   [M]   X  .       tokens are replaced by random tokens
    [M]   X  .  C  [M]   [M]        the document is rotated to begin at a random token
    A  B  .  C  D  E  .             the decoder always writes the original

[M] is [MASK]. The defaults are those of BART-large: all sentences are permuted, and 30 % of the
words are hidden by spans whose lengths are drawn from Poisson(3). One corruption alone reproduces a
row of the paper's ablation: `permute_rate=0 infill_rate=0 mask_rate=0.15`.

A row is packed from documents, which end at separators. Separators never move: sentences move and
documents rotate between two separators, and a separator cuts a span in two. The decoder reads the
separators but never predicts them.

Differs: spans do not overlap, so that a rate of 30 % hides 30 % of the words (27 % in fairseq). The
words of a row are treated as a circle, so that all are hidden equally often. Every draw follows
from the seed. Masks are inserted only while the row has room. The decoder has the same architecture
as the encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.corruption import edits
from bench.pretraining.corruption.drafts import Draft
from bench.pretraining.decoding import DecodedObjective, shift_right
from bench.pretraining.rates import Rate, highest_rate
from bench.settings import settings

if TYPE_CHECKING:
    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class BartDenoise(DecodedObjective):
    """Reconstruct the original of a corrupted text."""

    name: ClassVar[str] = "bart_denoise"
    summary: ClassVar[str] = "text corrupted in six ways; a decoder writes the original"
    source: ClassVar[str] = "Lewis et al. 2020, sec. 2.2 and 5.1"

    permute_rate: Rate = 1.0
    """Share of a row's sentences that are permuted within their documents."""
    infill_rate: Rate = 0.3
    """Share of a row's words that are hidden by spans; one [MASK] replaces each span."""
    mean_length: Annotated[float, Field(ge=1.0, le=50.0)] = 3.0
    """Mean of the Poisson distribution of span lengths, in words; length 0 inserts a [MASK]."""
    delete_rate: Rate = 0.0
    """Share of the remaining tokens that are deleted."""
    mask_rate: Rate = 0.0
    """Share of the remaining tokens that are shown as [MASK]."""
    replace_rate: Rate = 0.0
    """Share of the remaining tokens that are shown as random ordinary tokens."""
    rotate_rate: Rate = 0.0
    """Probability that a document is rotated to begin at a random token."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        noise = self.settled(noise)
        draft = Draft.of(batch)
        context = (batch, vocabulary)
        if highest_rate(self.permute_rate):
            draft = edits.permute_sentences(draft, *context, self.permute_rate, noise)
        if highest_rate(self.infill_rate):
            draft = edits.infill(draft, *context, self.infill_rate, self.mean_length, noise)
        for edit, rate in (
            (edits.delete, self.delete_rate),
            (edits.mask, self.mask_rate),
            (edits.replace, self.replace_rate),
            (edits.rotate_documents, self.rotate_rate),
        ):
            if highest_rate(rate):
                draft = edit(draft, *context, rate, noise)
        return Example(
            draft.tokens,
            Attention("full", draft.attention_mask),
            torch.where(batch.real, batch.tokens, IGNORED),
            origins=draft.origins,
            extras={"written": shift_right(batch.tokens, vocabulary.sep_id, vocabulary.pad_id)},
        )
