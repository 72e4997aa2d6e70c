"""Pairs of texts without labels: the two halves of a passage of the corpus' training part.

Both halves are about one thing, as neighbouring sentences are (Lee et al. 2019; Izacard et al. 2022
draw such pairs from one document too). A document shorter than a passage is one passage. The cut is
at the start of a sentence near the middle, where there is one, else at the start of a word. Only
the training part is read: no run has seen the held-out part, and tasks are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int, UInt8

    from bench.corpus.store import TokenStore

TextPair = tuple[str, str]

SHORTEST_PASSAGE = 8
"""Tokens; a shorter one has no two halves that say anything."""
DRAWS_PER_PAIR = 4
"""Positions drawn for each pair: some are in one passage, and some passages give no pair."""


def corpus_pairs(prepared: Path, count: int, passage_tokens: int) -> list[TextPair]:
    """At most `count` different pairs of a prepared corpus, in random order.

    Passages are drawn by positions in the text, so a long document gives as many pairs as its share
    of the text. The draws are the same for every run on the corpus.

    Args:
        prepared: The folder of the prepared corpus.
        count: Number of pairs.
        passage_tokens: Maximum length of a passage, in tokens of the corpus' tokenizer.
    """
    import torch

    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.noise import Noise
    from bench.probing.sampling import uniform

    store = TokenStore.open(prepared / "train")
    tokenizer = TextTokenizer.from_file(prepared / "tokenizer.json")
    draws = uniform(Noise(0, 0, torch.arange(1)), "contrastive.pairs", DRAWS_PER_PAIR * count)
    positions = (draws * store.num_tokens).astype(np.int64)
    pairs: dict[TextPair, None] = {}
    for begin, middle, end in _passages(store, positions, passage_tokens):
        ids = np.asarray(store.tokens[begin:end], dtype=np.int64)
        if (ids == tokenizer.vocabulary.unk_id).any():
            continue
        cut = middle - begin
        pair = tokenizer.decode(ids[:cut]).strip(), tokenizer.decode(ids[cut:]).strip()
        if all(pair) and pair[0] != pair[1]:
            pairs[pair] = None
        if len(pairs) == count:
            break
    return list(pairs)


def _passages(
    store: TokenStore, positions: Int[np.ndarray, " N"], passage_tokens: int
) -> Iterator[tuple[int, int, int]]:
    """(begin, cut, end) of the passage around each position, each passage once."""
    from bench.corpus.store import SENTENCE_START, WORD_START

    documents = np.searchsorted(store.documents, positions, side="right") - 1
    seen: set[int] = set()
    for position, document in zip(positions.tolist(), documents.tolist(), strict=True):
        low, high = int(store.documents[document]), int(store.documents[document + 1]) - 1
        number = max(0, min(position - low, high - low - 1)) // passage_tokens
        begin = low + number * passage_tokens
        end = min(begin + passage_tokens, high)
        if begin in seen or end - begin < SHORTEST_PASSAGE:
            continue
        seen.add(begin)
        flags = np.asarray(store.flags[begin:end])
        words = np.flatnonzero(flags & WORD_START)
        if not len(words):
            continue
        first = 0 if begin == low else int(words[0])
        last = end - begin if end == high else int(words[-1])
        cut = _cut(flags, first, last, (SENTENCE_START, WORD_START))
        if cut is not None:
            yield begin + first, begin + cut, begin + last


def _cut(
    flags: UInt8[np.ndarray, " L"], first: int, last: int, bits: tuple[int, ...]
) -> int | None:
    """The start of a sentence, else of a word, nearest the middle and in the middle half."""
    quarter, middle = (last - first) / 4, (first + last) / 2
    for bit in bits:
        places = np.flatnonzero(flags & bit)
        places = places[(places >= first + quarter) & (places <= last - quarter)]
        places = places[(places > first) & (places < last)]
        if len(places):
            return int(places[np.abs(places - middle).argmin()])
    return None
