"""Text infilling (T5): sentinels replace spans, and a decoder writes the spans.

    thank you  for  inviting me to your  party  last  week        10 tokens, 3 of them in 2 spans
    thank you  <0>  me  to  your party  <1>  week                 input of the encoder
    <0>  for  inviting  <1>  last  [SEP]                          output of the decoder

Of a row's n tokens clip(round(0.15 n), 1, n - 1) are hidden, in max(round(hidden / 3), 1) spans.
The hidden tokens and the visible tokens are each cut into that number of random, non-empty parts.
The parts alternate, starting with a visible one. The first token would then never be hidden and the
last one always: `roll` rotates the pattern by a random amount. This makes all positions equally
likely and may cut one span in two.

Positions count the row's ordinary tokens in order. Separators and padding are never hidden. A span
that crosses a separator has its one sentinel before it, as T5's own spans cross the ends of packed
documents. The last token of the target is [SEP], which corresponds to T5's end of sequence.

Differs: `roll` (the paper has none). Sentinels have embeddings of their own outside the vocabulary,
so that every objective trains the same encoder. The decoder has the encoder's architecture and
starts from [SEP] where T5 starts from padding. There are fewer spans where the tokens do not
suffice for that many parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.corruption.drafts import Draft, choose_exactly, nearest, spread
from bench.pretraining.decoding import DecodedObjective, shift_right
from bench.pretraining.rates import Rate, highest_rate, rate_at
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class T5Infilling(DecodedObjective):
    """Write the spans that the sentinels replace."""

    name: ClassVar[str] = "t5_infilling"
    summary: ClassVar[str] = "sentinels replace spans; a decoder writes the spans"
    source: ClassVar[str] = "Raffel et al. 2020, sec. 3.1.4 and 3.3.4"

    rate: Rate = 0.15
    """Share of a row's ordinary tokens to hide, at least one; `0.30->0.15` changes linearly."""
    mean_length: Annotated[float, Field(ge=1.0, le=100.0)] = 3.0
    """Mean length of a span in tokens, which determines the number of spans."""
    roll: bool = True
    """Rotate the pattern randomly, so that every position is hidden equally often."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        pattern = self.choose(batch, self.settled(noise))
        # Map the pattern over the n ordinary tokens to positions of the row, separators included.
        place = (batch.real.long().cumsum(1) - 1).clamp(min=0)
        hidden = pattern.gather(1, place) & batch.real
        starts = pattern & ~torch.nn.functional.pad(pattern[:, :-1], (1, 0))
        first = starts.gather(1, place) & batch.real
        sentinels = vocabulary.size - 1 + first.long().cumsum(1)

        draft = Draft.of(batch).substitute(first, sentinels)
        draft = draft.drop(hidden & ~first, vocabulary.pad_id)

        capacity = self.target_length(hidden.shape[1])
        source, ordinal, filled = spread(hidden.long() + first.long(), capacity)
        is_sentinel = first.gather(1, source) & (ordinal == 0)
        tokens = torch.where(
            is_sentinel, sentinels.gather(1, source), batch.tokens.gather(1, source)
        )
        ends = torch.nn.functional.pad(filled[:, :-1], (1, 0)) & ~filled
        target = torch.where(filled, tokens, IGNORED).masked_fill(ends, vocabulary.sep_id)
        return Example(
            draft.tokens,
            Attention("full", draft.attention_mask),
            target,
            origins=draft.origins,
            extras={"written": shift_right(target, vocabulary.sep_id, vocabulary.pad_id)},
        )

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        """True for each hidden token; column k is the k-th ordinary token of the row."""
        count = batch.real.sum(1)
        num_hidden = nearest(count, rate_at(self.rate, batch.progress)).clamp(min=1)
        num_hidden = torch.minimum(num_hidden, count - 1).clamp(min=0)
        num_spans = (num_hidden.double() / self.mean_length).round().long().clamp(min=1)
        num_spans = torch.minimum(num_spans, torch.minimum(num_hidden, count - num_hidden))

        rows, length = batch.real.shape
        at = torch.arange(length, device=count.device).expand(rows, -1)
        visible = parts(count - num_hidden, num_spans, at, noise, "kept")
        visible = visible.masked_fill(at >= (count - num_hidden)[:, None], length)
        spans = parts(num_hidden, num_spans, at, noise, "hidden")
        # A hidden token follows the earlier hidden tokens and all visible parts up to its own part.
        place = at + torch.searchsorted(visible, spans, right=True)
        place = place.masked_fill(at >= num_hidden[:, None], length)
        pattern = torch.zeros(rows, length + 1, dtype=torch.bool, device=count.device)
        pattern = pattern.scatter(1, place, True)[:, :length]
        if not self.roll:
            return pattern
        offset = (noise.uniform("roll", (rows, 1)) * count[:, None]).long()
        rotated = (at - offset) % count[:, None].clamp(min=1)
        return pattern.gather(1, rotated) & (at < count[:, None])

    def num_sentinels(self, length: int) -> int:
        hidden = max(1, min(round(length * highest_rate(self.rate)), length - 1))
        spans = min(max(1, round(hidden / self.mean_length)), length // 2)
        return spans + self.roll

    def target_length(self, length: int) -> int:
        hidden = max(1, min(round(length * highest_rate(self.rate)), length - 1))
        return hidden + self.num_sentinels(length) + 1


def parts(
    count: Int[Tensor, " B"], num_parts: Int[Tensor, " B"], at: Tensor, noise: Noise, stream: str
) -> Int[Tensor, "B L"]:
    """Cut `count` items into `num_parts` random, non-empty parts; return the part of each item."""
    cuts = choose_exactly(at < (count - 1)[:, None], num_parts - 1, noise, stream).long()
    return cuts.cumsum(1) - cuts
