"""BART's corruptions, each an edit of a draft, so that any of them follows any other.

[CLS], separators and padding are borders: nothing moves over one or is hidden with it, and what
stands between two of them is a document. An unknown character goes where its sentence goes.
Sentences come from the bitmap beside the tokens, so no tokenizer's full stop has to be known.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch

from bench.pretraining.corruption.drafts import INSERTED, Draft, choose_exactly, nearest
from bench.pretraining.objective import highest_rate, rate_at

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
    """A share of a row's sentences change places with each other, each within its document."""
    text = draft.read(movable(batch, vocabulary))
    starts = text & (draft.read(batch.sentence_start) | ~shifted(text))
    rows, length = text.shape
    at = torch.arange(length, device=text.device).expand(rows, -1)
    document = (~text).long().cumsum(1)
    quota = nearest(starts.sum(1), rate_at(rate, batch.progress))
    chosen = choose_exactly(starts, quota, noise, "sentences moved")
    # The n-th of a document's places goes to the sentence of the n-th smallest draw in it.
    drawn = (document << 32 | noise.bits("sentences", (rows, length))) * length + at
    sentence = torch.where(chosen, drawn, _NEVER).argsort(1)
    place = torch.where(chosen, at, length).sort(1).values
    sentence = sentence.masked_fill(place == length, length)  # no more sentences: a spare column
    places = torch.nn.functional.pad(at, (0, 1)).scatter(1, sentence, place)
    own_start = torch.where(starts, at, 0).cummax(1).values
    within = torch.where(text, places.gather(1, own_start) + 1, 0)  # a border stays before its text
    return draft.reordered((document * (length + 1) + within).argsort(dim=1, stable=True))


def infill(
    draft: Draft,
    batch: Batch,
    vocabulary: Vocabulary,
    rate: float | str,
    mean_length: float,
    noise: Noise,
) -> Draft:
    """Spans of words give way to one [MASK] each; a span of no words is a [MASK] put in.

    A border within a span cuts it in two. Masks are put in while there is room for them.
    """
    visible = draft.read(batch.real)
    starts = visible & (draft.read(batch.word_start | batch.sentence_start) | ~shifted(visible))
    length = visible.shape[1]
    quota = nearest(starts.sum(1), rate_at(rate, batch.progress))
    most = math.ceil(length * highest_rate(rate))
    is_hidden, begins, masks = hide_words(starts, quota, most, mean_length, noise)
    word = (starts.long().cumsum(1) - 1).clamp(min=0)
    hidden = visible & is_hidden.gather(1, word)
    first = hidden & starts & (begins.gather(1, word) | ~shifted(visible))
    inserted = torch.where(starts, masks.gather(1, word), 0)
    kept = draft.attention_mask & (~hidden | first)
    room = length - kept.sum(1, keepdim=True)
    inserted = inserted.cumsum(1).clamp(max=room).diff(dim=1, prepend=room * 0)
    draft = draft.stood_for(first, vocabulary.mask_id)
    return draft.rewritten(kept, inserted, vocabulary.mask_id, vocabulary.pad_id)


def delete(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """A share of the tokens still visible vanish without a trace."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "deleted")
    return draft.without(chosen, vocabulary.pad_id)


def mask(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """A share of the tokens still visible are shown as [MASK], each at its place."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "masked")
    return draft.shown(chosen, vocabulary.mask_id)


def replace(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """A share of the tokens still visible are shown as random ordinary tokens."""
    chosen = _share(draft, batch, vocabulary, rate, noise, "replaced")
    uniform = noise.uniform("replacement", tuple(chosen.shape))
    return draft.shown(chosen, vocabulary.draw_ordinary(uniform))


def rotate_documents(
    draft: Draft, batch: Batch, vocabulary: Vocabulary, rate: float | str, noise: Noise
) -> Draft:
    """A document begins with a token of it at random, and ends with what stood before that."""
    put_in = draft.attention_mask & (draft.origins == INSERTED)
    text = draft.read(movable(batch, vocabulary)) | put_in
    length = text.shape[1]
    at = torch.arange(length, device=text.device).expand_as(text)
    start = torch.where(text, 0, at + 1).cummax(1).values
    end = torch.where(text, length, at).flip(1).cummin(1).values.flip(1)
    size = (end - start).clamp(min=1)
    turn = (noise.uniform_at("turns", start) * size).long()
    is_turned = text & (noise.uniform_at("rotated", start) < rate_at(rate, batch.progress))
    return draft.reordered(torch.where(is_turned, start + (at - start + turn) % size, at))


def movable(batch: Batch, vocabulary: Vocabulary) -> Bool[Tensor, "B L"]:
    """What is text: ordinary tokens, and the unknown characters among them."""
    unknown = batch.tokens == vocabulary.unk_id
    for border in (vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id):
        unknown = unknown & (batch.tokens != border)  # some tokenizers have one token for all roles
    return batch.real | unknown


def hide_words(
    starts: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    mean_length: float,
    noise: Noise,
) -> tuple[Bool[Tensor, "B L"], Bool[Tensor, "B L"], Int[Tensor, "B L"]]:
    """For each word of a row, in order: is it hidden, does a span begin there, masks put in before.

    A span fits in fewer ways at the ends of a row, where half as many words would be hidden. So
    the words are taken as a circle, cut anywhere.
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
    turned = (torch.arange(length, device=cut.device) - cut) % around
    return is_hidden.gather(1, turned), begins.gather(1, turned) > 0, masks.gather(1, turned)


def place_spans(
    starts: Bool[Tensor, "B L"],
    quota: Int[Tensor, " B"],
    largest_quota: int,
    mean_length: float,
    noise: Noise,
) -> tuple[Int[Tensor, "B I"], Int[Tensor, "B I"], Bool[Tensor, "B I"]]:
    """Put spans of Poisson lengths among a row's words, none over another.

    Lengths are drawn until they come to the quota, and the last is cut to meet it exactly. Spans
    and visible words are then shuffled, so that every order of them has equal chance: drawing
    places first and dropping what overlaps, as fairseq does, hides fewer words than it says.

    Returns:
        For each of I items, span or visible word: its first word, how many words it has, and
        whether it is a span.
    """
    rows, length = starts.shape
    # The sum of n draws is Poisson too: at six deviations below its mean it still is the quota.
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
    """Inverse distribution function of the Poisson distribution."""
    counts = torch.zeros_like(uniform, dtype=torch.long)
    for bound in cumulative_poisson(mean):
        counts += uniform >= bound
    return counts


@functools.cache
def cumulative_poisson(mean: float) -> tuple[float, ...]:
    """Chances of at most 0, 1, 2, ... as far as a draw of 24 bits can tell."""
    chance, total, k = math.exp(-mean), 0.0, 0
    bounds = []
    while total < 1 - 2.0**-24:
        total += chance
        bounds.append(total)
        k += 1
        chance *= mean / k
    return tuple(bounds)


def shifted(marks: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
    """What stands to the left of each place; nothing to the left of the first."""
    return torch.nn.functional.pad(marks[:, :-1], (1, 0))


def _share(
    draft: Draft,
    batch: Batch,
    vocabulary: Vocabulary,
    rate: float | str,
    noise: Noise,
    stream: str,
) -> Bool[Tensor, "B L"]:
    """So many of the ordinary tokens that are still visible."""
    visible = draft.read(batch.real) & (draft.tokens != vocabulary.mask_id)
    count = nearest(visible.sum(1), rate_at(rate, batch.progress))
    return choose_exactly(visible, count, noise, stream)
