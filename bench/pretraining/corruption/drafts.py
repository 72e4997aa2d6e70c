"""Edits that delete, insert and move tokens of all rows at once, without changing a row's length.

An edited row is a gather: each place stores the position of the original token that it shows.
Composing edits is therefore composing index maps. Any mask over the original can be mapped to the
edited row, and `bench show` can display the edits of an objective beside the text. A loop over
tokens would stall a GPU at every token, and shapes that depend on the draws would cause a
recompilation at every step.
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
"""Origin of a place that shows no token of the original."""
_NEVER = 2**62


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """Rows during editing: the tokens of a row are at its left, padding is at its right."""

    tokens: Int[Tensor, "B L"]
    origins: Int[Tensor, "B L"]
    """Position of each place's token in the original, or `INSERTED`."""
    attention_mask: Bool[Tensor, "B L"]

    @classmethod
    def of(cls, batch: Batch) -> Draft:
        """The original rows before any edit."""
        attention_mask = (
            torch.ones_like(batch.real) if batch.attention_mask is None else batch.attention_mask
        )
        at = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
        origins = torch.where(attention_mask, at, INSERTED)
        return cls(batch.tokens, origins, attention_mask)

    def read(self, bitmap: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Map a bitmap over the original to the current places; False at inserted places."""
        return bitmap.gather(1, self.origins.clamp(min=0)) & (self.origins >= 0)

    def show(self, places: Bool[Tensor, "B L"], tokens: Tensor | int) -> Draft:
        """Show other tokens at some places; the origins, and with them the labels, stay."""
        return dataclasses.replace(self, tokens=torch.where(places, tokens, self.tokens))

    def substitute(self, places: Bool[Tensor, "B L"], tokens: Tensor | int) -> Draft:
        """Show tokens at some places that replace a span; these places have no origin."""
        origins = self.origins.masked_fill(places, INSERTED)
        return dataclasses.replace(self.show(places, tokens), origins=origins)

    def reorder(self, sources: Int[Tensor, "B L"]) -> Draft:
        """Move the token at `sources[b, l]` to place l; `sources` permutes each row."""
        return Draft(
            self.tokens.gather(1, sources),
            self.origins.gather(1, sources),
            self.attention_mask.gather(1, sources),
        )

    def drop(self, places: Bool[Tensor, "B L"], padding: int) -> Draft:
        """Drop some places and fill the row with padding."""
        return self.rewrite(~places, torch.zeros_like(self.tokens), padding, padding)

    def rewrite(
        self,
        remaining: Bool[Tensor, "B L"],
        inserted: Int[Tensor, "B L"],
        token: int,
        padding: int,
    ) -> Draft:
        """Drop places and insert a token before others; tokens beyond the row's end are cut off.

        Args:
            remaining: Places that are not dropped.
            inserted: Number of copies of `token` inserted before each place.
            token: The id of the inserted token.
            padding: The id of the token that fills the row.
        """
        copies = inserted + (remaining & self.attention_mask).long()
        source, ordinal, filled = spread(copies, self.tokens.shape[1])
        is_new = ordinal < inserted.gather(1, source)
        tokens = self.tokens.gather(1, source).masked_fill(is_new, token)
        origins = self.origins.gather(1, source).masked_fill(is_new | ~filled, INSERTED)
        return Draft(tokens.masked_fill(~filled, padding), origins, filled)


def spread(
    copies: Int[Tensor, "B M"], capacity: int
) -> tuple[Int[Tensor, "B C"], Int[Tensor, "B C"], Bool[Tensor, "B C"]]:
    """Repeat each place `copies` times, left to right, in a fixed shape.

    Returns:
        For each of the C = `capacity` new places: its source place, the index of this copy (from
        0), and whether the new place is used.
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
    """Choose `count` candidates of each row; all sets of that size are equally likely.

    Args:
        candidates: The positions that may be chosen.
        count: Number to choose in each row; all candidates where there are fewer.
        noise: The source of the draws.
        stream: The name of the noise stream.
    """
    rows, length = candidates.shape
    at = torch.arange(length, device=candidates.device)
    # The position in the low bits makes keys distinct, so the order is the same on all devices.
    keys = torch.where(candidates, noise.bits(stream, (rows, length)) * length + at, _NEVER)
    limit = keys.sort(1).values.gather(1, (count - 1).clamp(0, length - 1)[:, None])
    return candidates & (keys <= limit) & (count > 0)[:, None]


def nearest(counts: Int[Tensor, "*s"], rate: float) -> Int[Tensor, "*s"]:
    """Round `rate` x counts to the nearest integer; halves go to the even one, as in Python.

    The product is computed in float64: 0.15 x 30 is 4.5 there and slightly more in float32.
    """
    return (counts.double() * rate).round().long()
