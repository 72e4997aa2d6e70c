"""GPT-BERT: most rows are masked next-token prediction, and some rows are causal.

    [CLS]  the    [MASK]  [MASK]  fox      masked row (15 in 16): full attention, one piece of 2
    (no)   quick  brown   (no)    (no)
    [CLS]  the    quick   brown   fox      causal row (1 in 16): attention to the left
    the    quick  brown   fox     (no)

Every token is predicted one position to its left, so a position predicts its right neighbour in
both kinds of row and both share one head. `Noise` decides the kind of each row. The attention
pattern is "prefix", with the whole row (masked) or nothing (causal) as the prefix. Every position
has a slot for logits, so that shapes never change.

The defaults are the published ones: 1 causal row in 16, pieces of 1 to 3 tokens with one 80/10/10
draw each, and a rate that falls from 0.30 to 0.15. Each kind is weighted by its share of rows, not
of predictions, because a causal row makes several times as many predictions: the mean loss of each
row is weighted by its number of tokens.

Differs: the hidden pieces meet the rate exactly in every row, whereas the release hides each piece
independently; adjacent pieces share one draw; the release's gated attention and layer weighting
belong to its encoder, not to its objective, and are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example, Loss
from bench.pretraining.objective import write_tokens
from bench.pretraining.rates import Rate
from bench.settings import Fraction, settings

from .mntp import Mntp

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise


@settings
class GptBert(Mntp):
    """Masked and causal next-token prediction in one batch."""

    name: ClassVar[str] = "gpt_bert"
    summary: ClassVar[str] = "masked next-token prediction with a share of causal rows"
    source: ClassVar[str] = "Charpentier and Samuel 2024, sec. 2"

    causal_fraction: Fraction = 0.0625
    """Share of the rows that are causal."""
    rate: Rate = "0.30->0.15"
    """Share of a masked row's ordinary tokens that are predicted; it changes over the budget."""
    max_length: Annotated[int, Field(ge=1, le=100)] = 3
    """Maximum length of a hidden piece, in tokens."""
    draw: Literal["token", "word", "span"] = "span"
    """Unit with one draw of mask, random or keep: a token, a word or a run of chosen tokens."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        masked = super().corrupt(batch, vocabulary, noise)
        assert masked.positions is not None
        rows, length = batch.tokens.shape
        is_causal = self.settled(noise).uniform("kind", (rows, 1)) < self.causal_fraction
        following = torch.where(batch.real, batch.tokens, IGNORED)[:, 1:]
        following = torch.nn.functional.pad(following, (0, 1), value=IGNORED)
        nothing = torch.full_like(batch.tokens, IGNORED)
        hidden = write_tokens(nothing, masked.positions, masked.labels, masked.labels)
        return Example(
            torch.where(is_causal, batch.tokens, masked.inputs),
            Attention("prefix", batch.attention_mask, torch.where(is_causal, 0, length)[:, 0]),
            torch.where(is_causal, following, hidden),
            extras={"is_causal": is_causal[:, 0], "tokens": batch.real.sum(1)},
        )

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import token_nats

        nats = token_nats(encoder, head, example).sum(1)
        predictions = (example.labels != IGNORED).sum(1)
        tokens = torch.where(predictions > 0, example.extras["tokens"], 0).float()
        means = nats / predictions.clamp(min=1)
        is_causal = example.extras["is_causal"]
        parts = {
            kind: ((nats * rows).sum(), (predictions * rows).sum())
            for kind, rows in (("causal", is_causal), ("masked", ~is_causal))
        }
        return Loss((means * tokens).sum(), predictions.sum(), tokens.sum(), parts)
