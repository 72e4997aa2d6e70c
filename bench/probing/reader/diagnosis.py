"""Diagnoses of a run: filling tokens at once or one by one, and features of texts with [MASK]s."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import (
    Row,
    Span,
    batch_tokens,
    batches,
    pad,
    pool,
    read_rows,
)
from bench.probing.reader.filling import around, places_of, predictions, row_between

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.noise import Noise
    from bench.probing.reader.likelihood import TokenScorer

Corruption = Literal["none", "mask", "remove"]


def joint_nats(
    scorer: TokenScorer, texts: Sequence[str], spans: Sequence[Span]
) -> Float[np.ndarray, "N 3"]:
    """Log p of the tokens of `text[start:end]`, in nats, in two ways, and their number.

    First all of them hidden at once, each predicted for itself; second from left to right, each
    with the tokens before it shown and those after it hidden. A span without tokens, or with more
    than the encoder reads, has the number 0.
    """
    places = places_of(scorer, texts, spans)
    encoded = scorer.tokenizer.encode(texts)
    hidden = [
        one.ids[len(place.left) : len(one.ids) - len(place.right)]
        for one, place in zip(encoded, places, strict=True)
    ]
    mask = scorer.tokenizer.vocabulary.mask_id
    result = np.zeros((len(texts), 3))
    for size in sorted({len(tokens) for tokens in hidden}):
        if not 0 < size <= scorer.room:
            continue
        own = np.array([i for i, tokens in enumerate(hidden) if len(tokens) == size])
        targets = torch.from_numpy(np.stack([hidden[i] for i in own]).astype(np.int64))
        contexts = [around(places[i], scorer.room - size) for i in own]
        for step in range(size):
            rows = []
            for i, context in zip(own, contexts, strict=True):
                between = [*hidden[i][:step].tolist(), *[mask] * (size - step)]
                row, begin = row_between(scorer, *context, between)
                rows.append((row, begin + step))
            count = size if step == 0 else 1  # the first pass predicts all of them
            for index, nats in predictions(scorer, rows, count):
                wanted = targets[index, step : step + count].to(nats.device)
                log_p = nats.gather(2, wanted[:, :, None])[:, :, 0].double().cpu().numpy()
                if step == 0:
                    result[own[index], 0] = log_p.sum(1)
                result[own[index], 1] += log_p[:, 0]
        result[own, 2] = size
    return result


@torch.inference_mode()
def mean_states(
    encoder: SharedEncoder,
    tokenizer: TextTokenizer,
    pattern: Literal["full", "causal"],
    texts: Sequence[str],
    corruption: Corruption,
    share: float,
    noise: Noise,
) -> Float[np.ndarray, "N S D"]:
    """The mean of each text's own tokens at every layer, after a corruption of the input.

    `mask` replaces a share of each text's ordinary tokens, at least one, by [MASK]; `remove` takes
    the same tokens out. A text longer than the encoder reads is cut.
    """
    from bench.probing.sampling import uniform

    rows = read_rows(tokenizer, texts, encoder.shape.max_length)
    draws = uniform(noise, "diagnosis.tokens", sum(len(row.tokens) for row in rows))
    borders = np.cumsum([len(row.tokens) for row in rows])[:-1]
    changed = [
        _corrupted(row, own, corruption, share, tokenizer.vocabulary.mask_id)
        for row, own in zip(rows, np.split(draws, borders), strict=True)
    ]
    device = encoder.token_table.device
    states = np.empty((len(rows), encoder.shape.num_layers + 1, encoder.shape.hidden_size))
    for index in batches([len(row.tokens) for row in changed], batch_tokens(device)):
        batch = [changed[i] for i in index]
        tokens, _, attention_mask = pad(batch, tokenizer.vocabulary.pad_id, device)
        layers = encoder.hidden_states(tokens, Attention(pattern, attention_mask))
        low = torch.ones(len(batch), dtype=torch.long, device=device)
        high = torch.tensor([len(row.tokens) - 1 for row in batch], device=device)
        pooled = pool(torch.stack(layers, dim=1).float(), low, high)[:, :, 0]
        states[index] = pooled.cpu().numpy()
    return states


def _corrupted(
    row: Row, draws: Float[np.ndarray, " L"], corruption: Corruption, share: float, mask_id: int
) -> Row:
    ordinary = np.flatnonzero(row.words >= 0)
    if corruption == "none" or not len(ordinary):
        return row
    count = min(max(1, round(share * len(ordinary))), len(ordinary))
    chosen: Int[np.ndarray, " K"] = ordinary[np.argsort(draws[ordinary], kind="stable")[:count]]
    if corruption == "mask":
        tokens = row.tokens.copy()
        tokens[chosen] = mask_id
        return dataclasses.replace(row, tokens=tokens)
    visible = np.setdiff1d(np.arange(len(row.tokens)), chosen)
    return dataclasses.replace(row, tokens=row.tokens[visible], words=row.words[visible])
