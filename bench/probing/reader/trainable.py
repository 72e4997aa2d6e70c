"""A copy of a run's encoder that may be trained, with gradients.

It has no dropout, as in pretraining, so training it needs no generator.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import Row, Span, pad, pool, pool_words, read_rows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import SharedEncoder


class EncoderCopy:
    """A copy of an encoder (the protocol `bench.probing.task.TrainableEncoder`).

    Args:
        encoder: Copied; the original is never changed.
        tokenizer: The run's own.
        pattern: The attention pattern.
    """

    def __init__(
        self, encoder: SharedEncoder, tokenizer: TextTokenizer, pattern: Literal["full", "causal"]
    ) -> None:
        self.encoder = copy.deepcopy(encoder).train().requires_grad_(True)
        self.width = encoder.shape.hidden_size
        self._tokenizer = tokenizer
        self._pattern = pattern

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.encoder.token_table.device

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """The texts as token rows."""
        return read_rows(self._tokenizer, texts, self.encoder.shape.max_length)

    def vectors(
        self, rows: Sequence[Row], spans: Sequence[Sequence[Span]] | None = None
    ) -> Float[Tensor, "T D"]:
        """The last layer's mean of each text; with `spans`, each word's mean."""
        tokens, _, attention_mask = pad(rows, self._tokenizer.vocabulary.pad_id, self.device)
        hidden: Tensor = self.encoder(tokens, Attention(self._pattern, attention_mask))[:, None]
        if spans is None:
            low = torch.ones(len(rows), dtype=torch.long, device=self.device)
            high = torch.tensor([len(row.tokens) - 1 for row in rows], device=self.device)
            pooled: Tensor = pool(hidden, low, high)[:, 0, 0]
            return pooled
        places = [row.places(words) for row, words in zip(rows, spans, strict=True)]
        owner = np.repeat(np.arange(len(rows)), [len(own) for own in places])
        words: Tensor = pool_words(hidden, owner, np.concatenate(places))[:, 0, 0]
        return words
