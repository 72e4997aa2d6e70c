"""Hidden words: the log-probability of candidates, and the tokens that a run fills in.

A masked run reads as many [MASK]s as a candidate has tokens, and one pass scores all candidates of
that length, whatever their number. The tokens of a candidate are predicted independently, as
neighbouring [MASK]s are in training; hiding them one by one would cost a pass per candidate and
token. A causal run reads the text to the left. It predicts the first tokens of all candidates at
once and estimates the rest by the chain rule without the context; the likeliest candidates and the
word in the text are then scored in full.
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
from bench.probing.reader.batching import Row, Span, pad

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from bench.corpus.tokenizer import TextTokenizer
    from bench.probing.reader.likelihood import TokenScorer

SHORTLIST = 20
"""Number of candidates that a causal run scores by the full chain rule."""
ROWS_AT_ONCE = 4_096
"""Rows of candidates in their contexts that are in memory at once."""
CONTINUATION = 12
"""Number of tokens that a causal run adds to a text."""
MASK = "[MASK]"


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """The context of a hidden word, in tokens."""

    left: Int[np.ndarray, " A"]
    right: Int[np.ndarray, " C"]
    glue: str
    """A character like the one before the word, and the space in between."""


@dataclasses.dataclass(frozen=True)
class FillResult:
    """The tokens that a run fills into a text."""

    places: list[list[tuple[str, float]]]
    """The likeliest tokens at each [MASK] with their probabilities; for a causal run, the likeliest
    next tokens."""
    text: str
    """The text with the likeliest token everywhere; for a causal run, with its greedy
    continuation."""
    is_continued: bool


def word_scores(
    scorer: TokenScorer, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
) -> Float[np.ndarray, "N C"]:
    """Log p of each candidate, in nats, where `text[start:end]` is hidden; -inf if it is too long.

    Texts are cut around the place to the encoder's length.
    """
    places = places_of(scorer, texts, spans)
    scores = np.full((len(texts), len(candidates)), -np.inf)
    for glue in sorted({place.glue for place in places}):
        rows = np.array([i for i, place in enumerate(places) if place.glue == glue])
        here = [places[i] for i in rows]
        tokens = candidate_tokens(scorer, glue, candidates)
        if scorer.scoring == "causal":
            hidden_words = [texts[i][slice(*spans[i])] for i in rows]
            known = [candidates.index(word) if word in candidates else 0 for word in hidden_words]
            scores[rows] = _chain_scores(scorer, here, tokens, np.array(known))
        else:
            scores[rows] = _mask_scores(scorer, here, tokens)
    return scores


def places_of(scorer: TokenScorer, texts: Sequence[str], spans: Sequence[Span]) -> list[Place]:
    """The tokens on either side of each hidden word and of the space before it.

    In some tokenizers that space belongs to the word's token, and one tokenizer may do both: " bat"
    in one token and " ", "river" in two.
    """
    places = []
    encoded = scorer.tokenizer.encode(texts)
    for text, (start, end), one in zip(texts, spans, encoded, strict=True):
        before = text[:start].rstrip()
        first = int(np.searchsorted(one.ends, len(before), side="right"))
        stop = int(np.searchsorted(one.starts, end, side="left"))
        space = text[len(before) : start] if before else ""
        glue = f"a{space}" if space else before[-1:]
        places.append(Place(one.ids[:first], one.ids[max(first, stop) :], glue))
    return places


def candidate_tokens(
    scorer: TokenScorer, glue: str, candidates: Sequence[str]
) -> list[Int[np.ndarray, " M"]]:
    """The tokens of each candidate after `glue`, with the space before it."""
    encoded = scorer.tokenizer.encode([glue + word for word in candidates])
    return [one.ids[one.ends > len(glue[:1])] for one in encoded]


def _mask_scores(
    scorer: TokenScorer, places: Sequence[Place], candidates: Sequence[Int[np.ndarray, " M"]]
) -> Float[np.ndarray, "N C"]:
    """One pass per number of tokens scores all candidates of that length."""
    scores = np.full((len(places), len(candidates)), -np.inf)
    mask = scorer.tokenizer.vocabulary.mask_id
    for size in sorted({len(tokens) for tokens in candidates}):
        if not 0 < size <= scorer.room:
            continue
        own = np.array([c for c, tokens in enumerate(candidates) if len(tokens) == size])
        targets = torch.from_numpy(np.stack([candidates[c] for c in own]).astype(np.int64))
        rows = [
            row_between(scorer, *around(place, scorer.room - size), [mask] * size)
            for place in places
        ]
        for index, nats in predictions(scorer, rows, size):
            sums = nats.new_zeros(len(index), len(own))
            for token in range(size):
                sums += nats[:, token, targets[:, token].to(nats.device)]
            scores[np.ix_(index, own)] = sums.double().cpu().numpy()
    return scores


def around(place: Place, room: int) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " C"]]:
    """As many tokens of either side as fit, as evenly as their numbers allow."""
    right = min(len(place.right), max(room // 2, room - len(place.left)))
    left = min(len(place.left), room - right)
    return place.left[len(place.left) - left :], place.right[:right]


def row_between(
    scorer: TokenScorer,
    left: Int[np.ndarray, " A"],
    right: Int[np.ndarray, " C"],
    between: Sequence[int] | Int[np.ndarray, " M"],
) -> tuple[Row, int]:
    """`[CLS] left between right [SEP]`, and the position at which `between` begins."""
    vocabulary = scorer.tokenizer.vocabulary
    ends = ([vocabulary.cls_id], [vocabulary.sep_id])
    tokens = np.concatenate((ends[0], left, between, right, ends[1])).astype(np.int64)
    nothing = np.empty(0, dtype=np.int64)
    row = Row(tokens, np.zeros(len(tokens), dtype=np.int64), nothing, nothing, truncated=False)
    return row, len(left) + 1


@torch.inference_mode()
def predictions(
    scorer: TokenScorer, rows: Sequence[tuple[Row, int]], size: int
) -> Iterator[tuple[Int[np.ndarray, " B"], Float[Tensor, "B M V"]]]:
    """Log p of every token at `size` positions of each row, a bounded number at a time."""
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
            states = hidden[b, at + torch.arange(size, device=scorer.device)]
            yield index, scorer.log_probabilities(states)


def _chain_scores(
    scorer: TokenScorer,
    places: Sequence[Place],
    candidates: Sequence[Int[np.ndarray, " M"]],
    hidden_words: Int[np.ndarray, " N"],
) -> Float[np.ndarray, "N C"]:
    """The first token in its context, the rest estimated; the likeliest are scored in full."""
    lengths = np.array([len(tokens) for tokens in candidates])
    fits = (lengths > 0) & (lengths <= scorer.room)
    longest = int(lengths[fits].max(initial=1))
    lefts = [place.left[max(0, len(place.left) - scorer.room + longest) :] for place in places]
    none = np.empty(0, dtype=np.int64)
    scores = np.full((len(places), len(candidates)), -np.inf)
    first = torch.tensor([tokens[0] for tokens, fit in zip(candidates, fits, strict=True) if fit])
    rows = [row_between(scorer, left, none, none) for left in lefts]
    for index, nats in predictions(scorer, rows, 1):
        scores[np.ix_(index, fits)] = nats[:, 0, first.to(nats.device)].double().cpu().numpy()
    alone = [row_between(scorer, none, none, candidates[c]) for c in np.flatnonzero(fits).tolist()]
    scores[:, fits] += chain(scorer, alone, skip=1)
    likeliest = np.argsort(-scores, axis=1, kind="stable")[:, :SHORTLIST]
    is_listed = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(is_listed, likeliest, True, axis=1)
    is_listed[np.arange(len(places)), hidden_words] = True
    pairs = np.argwhere(is_listed & fits & (lengths > 1))
    for part in np.array_split(pairs, len(pairs) // ROWS_AT_ONCE + 1):
        scores[part[:, 0], part[:, 1]] = chain(
            scorer, [row_between(scorer, lefts[i], none, candidates[c]) for i, c in part.tolist()]
        )
    return scores


@torch.inference_mode()
def chain(
    scorer: TokenScorer, rows: Sequence[tuple[Row, int]], skip: int = 0
) -> Float[np.ndarray, " N"]:
    """Log p of each row's tokens from a position on (`skip` tokens later), by the chain rule."""
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


def fill(scorer: TokenScorer, text: str, k: int) -> FillResult:
    """The likeliest tokens at each [MASK]; for a causal run after the text, or the first [MASK].

    Raises:
        BenchError: There is no [MASK], or the text is longer than the encoder reads.
    """
    is_causal = scorer.scoring == "causal"
    text = text.replace(scorer.tokenizer.mask_spelling, MASK)
    if is_causal:
        text = text.partition(MASK)[0].rstrip()
    elif MASK not in text:
        raise BenchError(
            f"nothing to fill in {text!r}: write {MASK} where a token is missing, as in "
            f"'The {MASK} sat on the mat'"
        )
    ids = _ids_of(scorer, text)
    room = scorer.room - (CONTINUATION if is_causal else 0)
    if len(ids) > room:
        reserve = f" beside the {CONTINUATION} that it adds" if is_causal else ""
        raise BenchError(
            f"the text has {len(ids)} tokens and this run reads {room}{reserve}; shorten the text"
        )
    if is_causal:
        return _continuation(scorer, ids, k)
    none = np.empty(0, dtype=np.int64)
    row, _ = row_between(scorer, ids, none, none)
    at = np.flatnonzero(row.tokens == scorer.tokenizer.vocabulary.mask_id)
    places, filled = [], row.tokens.copy()
    for place in at:
        (_, nats) = next(predictions(scorer, [(row, int(place))], 1))
        places.append(_likeliest(scorer, nats[0, 0], k))
        filled[place] = _best(scorer, nats[0, 0])
    return FillResult(places, scorer.tokenizer.decode(filled[1:-1]).strip(), is_continued=False)


def _ids_of(scorer: TokenScorer, text: str) -> Int[np.ndarray, " L"]:
    """The tokens of a text that a user typed.

    Where tokens include the space before them, a space before a [MASK] would be a token of its own
    and would tell the run that the commonest words do not fit: that space is removed.
    """
    tokenizer = scorer.tokenizer
    if tokens_include_spaces(tokenizer):
        text = re.sub(rf"\s+{re.escape(MASK)}", MASK, text)
    own = text.replace(MASK, tokenizer.mask_spelling)
    return tokenizer.encode([own], parse_special=True)[0].ids


def tokens_include_spaces(tokenizer: TextTokenizer) -> bool:
    """Whether tokens include the space before them, as in byte-level BPE."""
    tokens = (tokenizer.token(i) for i in range(tokenizer.vocabulary.size))
    return any(token[:1].isspace() and token.strip() for token in tokens)


def _continuation(scorer: TokenScorer, ids: Int[np.ndarray, " L"], k: int) -> FillResult:
    """The likeliest next tokens, and the greedy continuation."""
    none, begin = np.empty(0, dtype=np.int64), len(ids)
    places: list[list[tuple[str, float]]] = []
    for _ in range(CONTINUATION):
        _, nats = next(predictions(scorer, [row_between(scorer, ids, none, none)], 1))
        if not places:
            places.append(_likeliest(scorer, nats[0, 0], k))
        ids = np.append(ids, _best(scorer, nats[0, 0]))
    return FillResult(places, scorer.tokenizer.decode(ids).strip(), is_continued=len(ids) > begin)


def _ordinary(scorer: TokenScorer, nats: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
    """Probabilities, with zero for special tokens: no objective is trained to predict them."""
    probabilities = nats.exp()
    probabilities[list(scorer.tokenizer.vocabulary.special_ids)] = 0.0
    return probabilities


def _likeliest(scorer: TokenScorer, nats: Float[Tensor, " V"], k: int) -> list[tuple[str, float]]:
    top = _ordinary(scorer, nats).topk(min(k, scorer.tokenizer.vocabulary.num_ordinary))
    return [
        (scorer.tokenizer.token(int(i)), float(p))
        for i, p in zip(top.indices, top.values, strict=True)
    ]


def _best(scorer: TokenScorer, nats: Float[Tensor, " V"]) -> int:
    return int(_ordinary(scorer, nats).argmax())
