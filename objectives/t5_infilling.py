"""Text infilling (T5): spans give way to sentinels, and a decoder writes the spans.

    thank you  for  inviting me to your  party  last  week        10 tokens, 3 of them in 2 spans
    thank you  <0>  me  to  your party  <1>  week                 what the encoder reads
    <0>  for  inviting  <1>  last  [SEP]                          what the decoder writes

Of a row's n tokens clip(round(0.15 n), 1, n - 1) are hidden, in max(round(hidden / 3), 1) spans.
Hidden and kept tokens are each cut into that many random parts, none empty, and interleaved, kept
first. So the first token would never be hidden and the last one always: `roll` turns the pattern
round the row by a random amount, which makes all positions alike and may cut one span in two.

Positions are those of the row's ordinary tokens in order. Separators and padding are never hidden:
a span that reaches over a separator has its one sentinel before it, as T5's own spans reach over
the ends of packed documents. The last token written is [SEP], T5's end of sequence.

Differs: `roll` (off: the paper's); sentinels are embeddings of the objective's own, beside the
vocabulary, so that every objective trains the same encoder; a decoder of the encoder's kind, which
starts from [SEP] where T5 starts from padding; fewer spans where so many parts cannot be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Attention, Batch, Example
from bench.pretraining.corruption.drafts import Draft, choose_exactly, nearest, spread
from bench.pretraining.decoding import DecodedObjective, shift_right
from bench.pretraining.objective import Rate, highest_rate, rate_at
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.noise import Noise


@settings
class T5Infilling(DecodedObjective):
    """Write what the sentinels stand for."""

    name: ClassVar[str] = "t5_infilling"
    summary: ClassVar[str] = "spans give way to sentinels; a decoder writes them"
    source: ClassVar[str] = "Raffel et al. 2020, sec. 3.1.4 and 3.3.4"

    rate: Rate = 0.15
    """Share of a row's ordinary tokens that are hidden, at least one; `0.30->0.15` moves."""
    mean_length: Annotated[float, Field(ge=1.0, le=100.0)] = 3.0
    """Mean length of a span in tokens: it sets how many there are."""
    roll: bool = True
    """Turn the pattern round the row, so that every position is hidden equally often."""

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        pattern = self.choose(batch, self.settled(noise))
        # From the n ordinary tokens in order to the places of the row, separators among them.
        place = (batch.real.long().cumsum(1) - 1).clamp(min=0)
        hidden = pattern.gather(1, place) & batch.real
        starts = pattern & ~torch.nn.functional.pad(pattern[:, :-1], (1, 0))
        first = starts.gather(1, place) & batch.real
        sentinels = vocabulary.size - 1 + first.long().cumsum(1)

        draft = Draft.of(batch).stood_for(first, sentinels)
        draft = draft.without(hidden & ~first, vocabulary.pad_id)

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
        """Which of each row's ordinary tokens, counted in order, are hidden."""
        count = batch.real.sum(1)
        num_hidden = nearest(count, rate_at(self.rate, batch.progress)).clamp(min=1)
        num_hidden = torch.minimum(num_hidden, count - 1).clamp(min=0)
        num_spans = (num_hidden.double() / self.mean_length).round().long().clamp(min=1)
        num_spans = torch.minimum(num_spans, torch.minimum(num_hidden, count - num_hidden))

        rows, length = batch.real.shape
        at = torch.arange(length, device=count.device).expand(rows, -1)
        kept = parts(count - num_hidden, num_spans, at, noise, "kept")
        kept = kept.masked_fill(at >= (count - num_hidden)[:, None], length)
        spans = parts(num_hidden, num_spans, at, noise, "hidden")
        # Before a hidden token stand the hidden ones before it and all kept parts up to its own.
        place = at + torch.searchsorted(kept, spans, right=True)
        place = place.masked_fill(at >= num_hidden[:, None], length)
        pattern = torch.zeros(rows, length + 1, dtype=torch.bool, device=count.device)
        pattern = pattern.scatter(1, place, True)[:, :length]
        if not self.roll:
            return pattern
        offset = (noise.uniform("roll", (rows, 1)) * count[:, None]).long()
        turned = (at - offset) % count[:, None].clamp(min=1)
        return pattern.gather(1, turned) & (at < count[:, None])

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
    """Cut a number of things into parts at random, none empty: which part each thing is in."""
    cuts = choose_exactly(at < (count - 1)[:, None], num_parts - 1, noise, stream).long()
    return cuts.cumsum(1) - cuts
