"""Edits that drop, insert and move tokens: every row at once, and a row's length never changes.

An edited row is a gather: for each of its places the position of the original text that stands
there. So edits compose by composing index maps, any bitmap of the original can be read through
them, and what an objective did to a text can be shown beside it. A loop over tokens would be a
stall a token on a GPU; shapes that follow the draws would be a recompilation a step.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.batch import Batch
    from bench.pretraining.noise import Noise

INSERTED = -1
"""The origin of a place where no token of the original stands."""
_NEVER = 2**62


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """Rows being edited. The tokens of a row stand at its left, padding at its right."""

    tokens: Int[Tensor, "B L"]
    origins: Int[Tensor, "B L"]
    """The position of the original at each place, or `INSERTED`."""
    attention_mask: Bool[Tensor, "B L"]

    @classmethod
    def of(cls, batch: Batch) -> Draft:
        """The original, unedited."""
        attention_mask = (
            torch.ones_like(batch.real) if batch.attention_mask is None else batch.attention_mask
        )
        at = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        origins = torch.where(attention_mask, at, INSERTED)
        return cls(batch.tokens, origins, attention_mask)

    def read(self, marks: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """A bitmap of the original, as the places stand now; False where none of it stands."""
        return marks.gather(1, self.origins.clamp(min=0)) & (self.origins >= 0)

    def shown(self, places: Bool[Tensor, "B L"], tokens: Tensor | int) -> Draft:
        """Other tokens at some places; what stood there is still asked for."""
        return dataclasses.replace(self, tokens=torch.where(places, tokens, self.tokens))

    def stood_for(self, places: Bool[Tensor, "B L"], tokens: Tensor | int) -> Draft:
        """Tokens at some places that are not there for what stood there, but for a span."""
        origins = self.origins.masked_fill(places, INSERTED)
        return dataclasses.replace(self.shown(places, tokens), origins=origins)

    def reordered(self, sources: Int[Tensor, "B L"]) -> Draft:
        """Each place takes the token of another: `sources` is a permutation of each row."""
        return Draft(
            self.tokens.gather(1, sources),
            self.origins.gather(1, sources),
            self.attention_mask.gather(1, sources),
        )

    def without(self, places: Bool[Tensor, "B L"], padding: int) -> Draft:
        """Some places dropped, and the row filled up with padding."""
        return self.rewritten(~places, torch.zeros_like(self.tokens), padding, padding)

    def rewritten(
        self, kept: Bool[Tensor, "B L"], inserted: Int[Tensor, "B L"], token: int, padding: int
    ) -> Draft:
        """Drop places, and put a token before others; what then exceeds the row is cut off.

        Args:
            kept: Places that stay.
            inserted: How many times `token` goes before each place.
            token: What is inserted.
            padding: What fills the row.
        """
        copies = inserted + (kept & self.attention_mask).long()
        source, ordinal, filled = spread(copies, self.tokens.shape[1])
        is_new = ordinal < inserted.gather(1, source)
        tokens = self.tokens.gather(1, source).masked_fill(is_new, token)
        origins = self.origins.gather(1, source).masked_fill(is_new | ~filled, INSERTED)
        return Draft(tokens.masked_fill(~filled, padding), origins, filled)


def spread(
    copies: Int[Tensor, "B M"], capacity: int
) -> tuple[Int[Tensor, "B C"], Int[Tensor, "B C"], Bool[Tensor, "B C"]]:
    """Write each place as often as `copies` says, left to right, in a fixed shape.

    Returns:
        For each of the C = `capacity` places written: the place it comes from, which of its copies
        it is (from 0), and whether it is written at all.
    """
    rows, length = copies.shape
    ends = copies.cumsum(1)
    at = torch.arange(capacity, device=copies.device).expand(rows, -1).contiguous()
    filled = at < ends[:, -1:]
    source = torch.searchsorted(ends, at, right=True).clamp(max=length - 1)
    return source, at - (ends - copies).gather(1, source), filled


def choose_exactly(
    candidates: Bool[Tensor, "B L"], count: Int[Tensor, " B"], noise: Noise, stream: str
) -> Bool[Tensor, "B L"]:
    """Mark so many of the candidates of each row, every set of that size with equal chance.

    Args:
        candidates: What may be marked.
        count: How many to mark; all of them where there are fewer.
        noise: The draws.
        stream: Their name.
    """
    rows, length = candidates.shape
    at = torch.arange(length, device=candidates.device)
    # The position in the low bits makes keys distinct, so that the order is the same everywhere.
    keys = torch.where(candidates, noise.bits(stream, (rows, length)) * length + at, _NEVER)
    limit = keys.sort(1).values.gather(1, (count - 1).clamp(0, length - 1)[:, None])
    return candidates & (keys <= limit) & (count > 0)[:, None]


def nearest(counts: Int[Tensor, "*s"], rate: float) -> Int[Tensor, "*s"]:
    """The nearest whole number to a share of counts; halves go to the even one, as in Python.

    In float64: 0.15 x 30 is 4.5 there, and a little more in float32.
    """
    return (counts.double() * rate).round().long()
