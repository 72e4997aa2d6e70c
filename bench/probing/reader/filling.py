"""Hidden words: which is likeliest where one is missing, and what a person may ask of a run.

A masked run is shown as many [MASK]s as a candidate has tokens and answers for all candidates of
that length at once: one pass a length, whatever their number. Its tokens are then predicted each
without the others, which is what the run was trained to do with neighbouring [MASK]s; hiding them
one by one would cost a pass a candidate and token. A causal run reads what stands to the left; it
predicts the first tokens of all candidates at once and the rest by the chain rule, which is first
estimated without the context; the likeliest and the word that stands there are then read in full.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.errors import BenchError
from bench.pretraining.batch import Attention
from bench.probing.reader.batching import Row, pad
from bench.probing.task import Span

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from bench.probing.reader.likelihood import TokenScorer

SHORTLIST = 20
"""Candidates whose chain rule a causal run follows in full."""
ROWS_AT_ONCE = 4_096
"""Rows of candidates in their contexts held in memory."""
CONTINUATION = 12
"""Tokens a causal run adds to a text."""
MASK = "[MASK]"


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """What stands around a hidden word, in tokens."""

    left: Int[np.ndarray, " A"]
    right: Int[np.ndarray, " C"]
    glue: str
    """A character like the one before it, and the space in between."""


@dataclasses.dataclass(frozen=True)
class Filled:
    """What a run would put into a text."""

    places: list[list[tuple[str, float]]]
    """At each [MASK] the likeliest tokens with their probabilities; for a causal run, what may
    come next."""
    text: str
    """With the likeliest everywhere; for a causal run with its greedy continuation."""
    is_continued: bool


def word_scores(
    scorer: TokenScorer, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
) -> Float[np.ndarray, "N C"]:
    """Log p of each candidate, in nats, where `text[start:end]` is hidden; -inf if it is too long.

    Texts are cut around the place to what the encoder reads.
    """
    places = places_of(scorer, texts, spans)
    found = np.full((len(texts), len(candidates)), -np.inf)
    for glue in sorted({place.glue for place in places}):
        rows = np.array([i for i, place in enumerate(places) if place.glue == glue])
        here = [places[i] for i in rows]
        tokens = candidate_tokens(scorer, glue, candidates)
        if scorer.scoring == "causal":
            standing = [texts[i][slice(*spans[i])] for i in rows]
            known = [candidates.index(word) if word in candidates else 0 for word in standing]
            found[rows] = _chained(scorer, here, tokens, np.array(known))
        else:
            found[rows] = _masked(scorer, here, tokens)
    return found


def places_of(scorer: TokenScorer, texts: Sequence[str], spans: Sequence[Span]) -> list[Place]:
    """The tokens on either side of each hidden word, and of the space before it.

    Tokenizers differ in whether that space is the word's, and one may do both: " bat" in one token
    and " ", "river" in two.
    """
    found = []
    encoded = scorer.tokenizer.encode(texts)
    for text, (start, end), one in zip(texts, spans, encoded, strict=True):
        before = text[:start].rstrip()
        first = int(np.searchsorted(one.ends, len(before), side="right"))
        stop = int(np.searchsorted(one.starts, end, side="left"))
        space = text[len(before) : start] if before else ""
        glue = f"a{space}" if space else before[-1:]
        found.append(Place(one.ids[:first], one.ids[max(first, stop) :], glue))
    return found


def candidate_tokens(
    scorer: TokenScorer, glue: str, candidates: Sequence[str]
) -> list[Int[np.ndarray, " M"]]:
    """Each candidate's tokens, with the space before it, as it stands after `glue`."""
    encoded = scorer.tokenizer.encode([glue + word for word in candidates])
    return [one.ids[one.ends > len(glue[:1])] for one in encoded]


def _masked(
    scorer: TokenScorer, places: Sequence[Place], candidates: Sequence[Int[np.ndarray, " M"]]
) -> Float[np.ndarray, "N C"]:
    """One pass for each number of tokens; all candidates of that number from its predictions."""
    found = np.full((len(places), len(candidates)), -np.inf)
    mask = scorer.tokenizer.vocabulary.mask_id
    for size in sorted({len(tokens) for tokens in candidates}):
        if not 0 < size <= scorer.room:
            continue
        own = np.array([c for c, tokens in enumerate(candidates) if len(tokens) == size])
        wanted = torch.from_numpy(np.stack([candidates[c] for c in own]).astype(np.int64))
        rows = [_row(scorer, *around(place, scorer.room - size), [mask] * size) for place in places]
        for index, nats in _predictions(scorer, rows, size):
            scores = nats.new_zeros(len(index), len(own))
            for token in range(size):
                scores += nats[:, token, wanted[:, token].to(nats.device)]
            found[np.ix_(index, own)] = scores.double().cpu().numpy()
    return found


def around(place: Place, room: int) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " C"]]:
    """As many tokens of either side as fit, as evenly as their numbers allow."""
    right = min(len(place.right), max(room // 2, room - len(place.left)))
    left = min(len(place.left), room - right)
    return place.left[len(place.left) - left :], place.right[:right]


def _row(
    scorer: TokenScorer,
    left: Int[np.ndarray, " A"],
    right: Int[np.ndarray, " C"],
    between: Sequence[int] | Int[np.ndarray, " M"],
) -> tuple[Row, int]:
    """`[CLS] left between right [SEP]`, and where `between` begins."""
    vocabulary = scorer.tokenizer.vocabulary
    ends = ([vocabulary.cls_id], [vocabulary.sep_id])
    tokens = np.concatenate((ends[0], left, between, right, ends[1])).astype(np.int64)
    nothing = np.empty(0, dtype=np.int64)
    row = Row(tokens, np.zeros(len(tokens), dtype=np.int64), nothing, nothing, truncated=False)
    return row, len(left) + 1


@torch.inference_mode()
def _predictions(
    scorer: TokenScorer, rows: Sequence[tuple[Row, int]], size: int
) -> Iterator[tuple[Int[np.ndarray, " B"], Float[Tensor, "B M V"]]]:
    """Log p of every token at `size` places, from each row's own on; a bounded number at a time."""
    pattern: Literal["full", "causal"] = "causal" if scorer.scoring == "causal" else "full"
    shift = 0 if scorer.scoring == "masked" else 1  # the others predict one place to the left
    most = max(1, scorer.logit_rows() // size)
    for batch in scorer.batches([len(row.tokens) for row, _ in rows]):
        for index in np.split(batch, range(most, len(batch), most)):
            pad_id = scorer.tokenizer.vocabulary.pad_id
            tokens, _, attention_mask = pad([rows[i][0] for i in index], pad_id, scorer.device)
            hidden = scorer.encoder(tokens, Attention(pattern, attention_mask))
            at = torch.tensor([rows[i][1] - shift for i in index], device=scorer.device)[:, None]
            b = torch.arange(len(index), device=scorer.device)[:, None]
            read = hidden[b, at + torch.arange(size, device=scorer.device)]
            yield index, scorer.log_probabilities(read)


def _chained(
    scorer: TokenScorer,
    places: Sequence[Place],
    candidates: Sequence[Int[np.ndarray, " M"]],
    standing: Int[np.ndarray, " N"],
) -> Float[np.ndarray, "N C"]:
    """The first token in its context, the rest estimated, and the likeliest read in full."""
    lengths = np.array([len(tokens) for tokens in candidates])
    fits = (lengths > 0) & (lengths <= scorer.room)
    longest = int(lengths[fits].max(initial=1))
    lefts = [place.left[max(0, len(place.left) - scorer.room + longest) :] for place in places]
    none = np.empty(0, dtype=np.int64)
    found = np.full((len(places), len(candidates)), -np.inf)
    first = torch.tensor([tokens[0] for tokens, fit in zip(candidates, fits, strict=True) if fit])
    rows = [_row(scorer, left, none, none) for left in lefts]
    for index, nats in _predictions(scorer, rows, 1):
        found[np.ix_(index, fits)] = nats[:, 0, first.to(nats.device)].double().cpu().numpy()
    alone = [_row(scorer, none, none, candidates[c]) for c in np.flatnonzero(fits).tolist()]
    found[:, fits] += chain(scorer, alone, skip=1)
    likeliest = np.argsort(-found, axis=1, kind="stable")[:, :SHORTLIST]
    is_listed = np.zeros(found.shape, dtype=bool)
    np.put_along_axis(is_listed, likeliest, True, axis=1)
    is_listed[np.arange(len(places)), standing] = True
    pairs = np.argwhere(is_listed & fits & (lengths > 1))
    for part in np.array_split(pairs, len(pairs) // ROWS_AT_ONCE + 1):
        found[part[:, 0], part[:, 1]] = chain(
            scorer, [_row(scorer, lefts[i], none, candidates[c]) for i, c in part.tolist()]
        )
    return found


@torch.inference_mode()
def chain(
    scorer: TokenScorer, rows: Sequence[tuple[Row, int]], skip: int = 0
) -> Float[np.ndarray, " N"]:
    """Log p of each row's tokens from a place on (`skip` tokens later), by the chain rule."""
    total = np.zeros(len(rows))
    lengths = np.array([len(row.tokens) for row, _ in rows])
    begin = np.array([at for _, at in rows]) + skip
    for index in scorer.batches(lengths):
        pad_id = scorer.tokenizer.vocabulary.pad_id
        tokens, _, attention_mask = pad([rows[i][0] for i in index], pad_id, scorer.device)
        column = torch.arange(tokens.shape[1], device=scorer.device)
        start, stop = (
            torch.from_numpy(bound[index]).to(scorer.device)[:, None]
            for bound in (begin, lengths - 1)
        )
        b, at = ((column >= start) & (column < stop)).nonzero(as_tuple=True)
        hidden = scorer.encoder(tokens, Attention("causal", attention_mask))
        nats = scorer.nats(hidden[b, at - 1], tokens[b, at])
        total[index] = np.bincount(b.cpu().numpy(), weights=nats, minlength=len(index))
    return total


def fill(scorer: TokenScorer, text: str, k: int) -> Filled:
    """The likeliest tokens at each [MASK]; for a causal run after the text, or the first [MASK].

    Raises:
        BenchError: There is no [MASK], or the text is longer than the encoder reads.
    """
    is_causal = scorer.scoring == "causal"
    if is_causal:
        text = text.partition(MASK)[0].rstrip()
    elif MASK not in text:
        raise BenchError(
            f"nothing to fill in {text!r}: write {MASK} where a token is missing, as "
            f"'The {MASK} sat on the mat'"
        )
    ids = _typed(scorer, text)
    room = scorer.room - (CONTINUATION if is_causal else 0)
    if len(ids) > room:
        raise BenchError(
            f"the text has {len(ids)} tokens and this run reads {room}"
            f"{f', to add {CONTINUATION}' if is_causal else ''}; shorten it"
        )
    if is_causal:
        return _continued(scorer, ids, k)
    none = np.empty(0, dtype=np.int64)
    row, _ = _row(scorer, ids, none, none)
    at = np.flatnonzero(row.tokens == scorer.tokenizer.vocabulary.mask_id)
    places, filled = [], row.tokens.copy()
    for place in at:
        (_, nats) = next(_predictions(scorer, [(row, int(place))], 1))
        places.append(_likeliest(scorer, nats[0, 0], k))
        filled[place] = _best(scorer, nats[0, 0])
    return Filled(places, scorer.tokenizer.decode(filled[1:-1]).strip(), is_continued=False)


def _typed(scorer: TokenScorer, text: str) -> Int[np.ndarray, " L"]:
    """The tokens of what a person typed.

    Where tokens have the space before them, one before a [MASK] would stand alone and tell the run
    that the commonest words cannot be meant: it is left out.
    """
    tokenizer = scorer.tokenizer
    tokens = (tokenizer.token(i) for i in range(tokenizer.vocabulary.size))
    if any(token[:1].isspace() and token.strip() for token in tokens):
        text = re.sub(rf"\s+{re.escape(MASK)}", MASK, text)
    own = tokenizer.token(tokenizer.vocabulary.mask_id)
    return tokenizer.encode([text.replace(MASK, own)], parse_special=True)[0].ids


def _continued(scorer: TokenScorer, ids: Int[np.ndarray, " L"], k: int) -> Filled:
    """What may come next, and the likeliest token after token."""
    none, begin = np.empty(0, dtype=np.int64), len(ids)
    places: list[list[tuple[str, float]]] = []
    for _ in range(CONTINUATION):
        _, nats = next(_predictions(scorer, [_row(scorer, ids, none, none)], 1))
        if not places:
            places.append(_likeliest(scorer, nats[0, 0], k))
        ids = np.append(ids, _best(scorer, nats[0, 0]))
    return Filled(places, scorer.tokenizer.decode(ids).strip(), is_continued=len(ids) > begin)


def _ordinary(scorer: TokenScorer, nats: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
    """Probabilities, with none for special tokens: no objective is trained to predict them."""
    probabilities = nats.exp()
    probabilities[list(scorer.tokenizer.vocabulary.special_ids)] = 0.0
    return probabilities


def _likeliest(scorer: TokenScorer, nats: Float[Tensor, " V"], k: int) -> list[tuple[str, float]]:
    found = _ordinary(scorer, nats).topk(min(k, scorer.tokenizer.vocabulary.num_ordinary))
    return [
        (scorer.tokenizer.token(int(i)), float(p))
        for i, p in zip(found.indices, found.values, strict=True)
    ]


def _best(scorer: TokenScorer, nats: Float[Tensor, " V"]) -> int:
    return int(_ordinary(scorer, nats).argmax())
