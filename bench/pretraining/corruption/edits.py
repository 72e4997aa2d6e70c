"""BART's corruptions. Each is an edit of a draft, so any of them can follow any other.

[CLS], separators and padding are borders: nothing moves across a border or is hidden together with
it, and a document is the text between two borders. An unknown character moves with its sentence.
Sentences come from the bitmap stored beside the tokens, so the full stop of a tokenizer need not be
known.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from bench.pretraining.corruption.drafts import INSERTED, Draft, choose_exactly, nearest
from bench.pretraining.corruption.units import cut_units
from bench.pretraining.rates import highest_rate, rate_at

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Batch
    from bench.pretraining.noise import Noise

_NEVER = 2**62


def permute_sentences(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """Permute a share of a row's sentences, each within its document."""
    text = draft.read(movable(batch, vocabulary))
    starts = text & (draft.read(batch.sentence_start) | ~left_neighbour(text))
    rows, length = text.shape
    at = torch.arange(length, device=text.device).expand(rows, -1)
    document = (~text).long().cumsum(1)
    quota = nearest(starts.sum(1), rate_at(rate, batch.progress))
    chosen = choose_exactly(starts, quota, noise, "sentences moved")
    # The n-th place of a document goes to its sentence with the n-th smallest draw.
    drawn = (document << 32 | noise.bits("sentences", (rows, length))) * length + at
    sentence = torch.where(chosen, drawn, _NEVER).argsort(1)
    place = torch.where(chosen, at, length).sort(1).values
    sentence = sentence.masked_fill(place == length, length)  # unused slots write to a spare column
    places = torch.nn.functional.pad(at, (0, 1)).scatter(1, sentence, place)
    own_start = torch.where(starts, at, 0).cummax(1).values
    within = torch.where(text, places.gather(1, own_start) + 1, 0)  # a border stays before its text
    return draft.reorder((document * (length + 1) + within).argsort(dim=1, stable=True))


def infill(
    draft: Draft,
    batch: Batch,
    vocabulary: Vocabulary,
    rate: float | str,
    mean_length: float,
    noise: Noise,
) -> Draft:
    """Replace each span of words by one [MASK]; an empty span inserts a [MASK].

    A border inside a span cuts it in two. Masks are inserted only while the row has room.
    """
    visible = draft.read(batch.real)
    starts = visible & (
        draft.read(batch.word_start | batch.sentence_start) | ~left_neighbour(visible)
    )
    length, share = visible.shape[1], rate_at(rate, batch.progress)
    starts = cut_units(starts, visible, nearest(visible.sum(1), share), visible)
    quota = nearest(starts.sum(1), share)
    most = math.ceil(length * highest_rate(rate))
    is_hidden, begins, masks = hide_words(starts, quota, most, mean_length, noise)
    word = (starts.long().cumsum(1) - 1).clamp(min=0)
    hidden = visible & is_hidden.gather(1, word)
    first = hidden & starts & (begins.gather(1, word) | ~left_neighbour(visible))
    inserted = torch.where(starts, masks.gather(1, word), 0)
    remaining = draft.attention_mask & (~hidden | first)
    room = length - remaining.sum(1, keepdim=True)
    inserted = inserted.cumsum(1).clamp(max=room).diff(dim=1, prepend=room * 0)
    draft = draft.substitute(first, vocabulary.mask_id)
    return draft.rewrite(remaining, inserted, vocabulary.mask_id, vocabulary.pad_id)


def delete(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """Delete a share of the visible tokens without leaving a mask."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "deleted")
    return draft.drop(chosen, vocabulary.pad_id)


def mask(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """Show a share of the visible tokens as [MASK], one mask per token."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "masked")
    return draft.show(chosen, vocabulary.mask_id)


def replace(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """Show a share of the visible tokens as random ordinary tokens."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "replaced")
    uniform = noise.uniform("replacement", tuple(chosen.shape))
    return draft.show(chosen, vocabulary.draw_ordinary(uniform))


def rotate_documents(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """Rotate documents to begin at a random token; the part before it moves to the end."""
    is_inserted = draft.attention_mask & (draft.origins == INSERTED)
    text = draft.read(movable(batch, vocabulary)) | is_inserted
    length = text.shape[1]
    at = torch.arange(length, device=text.device).expand_as(text)
    start = torch.where(text, 0, at + 1).cummax(1).values
    end = torch.where(text, length, at).flip(1).cummin(1).values.flip(1)
    size = (end - start).clamp(min=1)
    turn = (noise.uniform_at("turns", start) * size).long()
    is_rotated = text & (noise.uniform_at("rotated", start) < rate_at(rate, batch.progress))
    return draft.reorder(torch.where(is_rotated, start + (at - start + turn) % size, at))


def movable(batch: Batch, vocabulary: Vocabulary) -> Bool[Tensor, "B L"]:
    """True for text: ordinary tokens and unknown characters, without borders."""
    unknown = batch.tokens == vocabulary.unk_id
    for border in (vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id):
        unknown = unknown & (
            batch.tokens != border
        )  # some tokenizers use one token for all of these roles
    return batch.real | unknown


def hide_words(
    starts: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    mean_length: float,
    noise: Noise,
) -> tuple[Bool[Tensor, "B L"], Bool[Tensor, "B L"], Int[Tensor, "B L"]]:
    """For each word of a row: is it hidden, does a span begin there, number of masks before it.

    A span has fewer possible places at the ends of a row, where only half as many words would be
    hidden. The words are therefore treated as a circle that is cut at a random word.
    """
    rows, length = starts.shape
    first, size, is_span = place_spans(starts, quota, largest_quota, mean_length, noise)
    num_words = starts.sum(1, keepdim=True)
    around = num_words.clamp(min=1)
    empty = size.new_zeros(rows, length + 1)
    covers = (is_span & (size > 0)).long()
    begins = empty.scatter_add(1, first, covers)
    is_hidden = (begins - empty.scatter_add(1, first + size, covers)).cumsum(1) > 0
    masks = empty.scatter_add(1, first % around, (is_span & (size == 0)).long())
    cut = (noise.uniform("cut", (rows, 1)) * num_words).long()
    rotated = (torch.arange(length, device=cut.device) - cut) % around
    return is_hidden.gather(1, rotated), begins.gather(1, rotated) > 0, masks.gather(1, rotated)


def place_spans(
    starts: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    mean_length: float,
    noise: Noise,
) -> tuple[Int[Tensor, "B I"], Int[Tensor, "B I"], Bool[Tensor, "B I"]]:
    """Place spans of Poisson lengths among a row's words, without overlaps.

    Lengths are drawn until their sum reaches the quota, and the last one is cut to meet the quota
    exactly. Spans and visible words are then shuffled, so that every order is equally likely.
    fairseq draws the places first and drops overlapping spans, which hides fewer words than the
    nominal rate.

    Returns:
        For each of I items (span or visible word): its first word, its number of words, and
        whether it is a span.
    """
    rows, length = starts.shape
    # The sum of n draws is Poisson too. n is large enough that a sum six standard deviations below
    # its mean still reaches the quota.
    num_draws = math.ceil((3 + (9 + largest_quota) ** 0.5) ** 2 / mean_length)
    size = poisson(noise.uniform("span lengths", (rows, num_draws)), mean_length)
    before = size.cumsum(1) - size
    is_drawn = before < quota[:, None]
    size = torch.minimum(size, (quota[:, None] - before).clamp(min=0))
    num_visible = starts.sum(1) - size.sum(1)
    is_visible = torch.arange(length, device=size.device) < num_visible[:, None]
    num_items = num_draws + length
    keys = noise.bits("span places", (rows, num_items)) * num_items
    keys += torch.arange(num_items, device=size.device)
    keys = keys.masked_fill(~torch.cat((is_drawn, is_visible), dim=1), _NEVER)
    order = keys.argsort(1)
    size = torch.cat((size, is_visible.long()), dim=1).gather(1, order)
    is_span = torch.nn.functional.pad(is_drawn, (0, length)).gather(1, order)
    return size.cumsum(1) - size, size, is_span


def poisson(uniform: Float[Tensor, "*s"], mean: float) -> Int[Tensor, "*s"]:
    """Turn draws from [0, 1) into Poisson counts by the inverse distribution function."""
    counts = torch.zeros_like(uniform, dtype=torch.long)
    for bound in cumulative_poisson(mean):
        counts += uniform >= bound
    return counts


@functools.cache
def cumulative_poisson(mean: float) -> tuple[float, ...]:
    """Probabilities of at most 0, 1, 2, ..., up to the resolution of a 24-bit draw."""
    chance, total, k = math.exp(-mean), 0.0, 0
    bounds = []
    while total < 1 - 2.0**-24:
        total += chance
        bounds.append(total)
        k += 1
        chance *= mean / k
    return tuple(bounds)


def left_neighbour(bitmap: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
    """The value of each place's left neighbour; False at the first place."""
    return torch.nn.functional.pad(bitmap[:, :-1], (1, 0))


def _share(
    draft: Draft,
    batch: Batch,
    vocabulary: Vocabulary,
    rate: float | str,
    noise: Noise,
    stream: str,
) -> Bool[Tensor, "B L"]:
    """Choose a share of the ordinary tokens that are still visible."""
    visible = draft.read(batch.real) & (draft.tokens != vocabulary.mask_id)
    count = nearest(visible.sum(1), rate_at(rate, batch.progress))
    return choose_exactly(visible, count, noise, stream)
