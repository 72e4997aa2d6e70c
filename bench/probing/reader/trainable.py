"""An encoder that may be changed: a copy of a run's own, read with gradients.

It has no dropout, as in pretraining, so that training it needs no generator.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import Row, pad, pool, read_rows
from bench.probing.task import Span

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import Encoder


class TrainableEncoder:
    """A copy of an encoder, with its tokenizer and the attention it is read with.

    Args:
        encoder: Copied; the given one is never changed.
        tokenizer: The run's own.
        pattern: Who may see whom.
    """

    def __init__(
        self, encoder: Encoder, tokenizer: TextTokenizer, pattern: Literal["full", "causal"]
    ) -> None:
        self.encoder = copy.deepcopy(encoder).train().requires_grad_(True)
        self.width = encoder.shape.hidden_size
        self._tokenizer = tokenizer
        self._pattern = pattern

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.encoder.embeddings.tok_embeddings.weight.device

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """Texts as it reads them."""
        return read_rows(self._tokenizer, texts, self.encoder.shape.max_length)

    def vectors(
        self, rows: Sequence[Row], spans: Sequence[Sequence[Span]] | None = None
    ) -> Float[Tensor, "T D"]:
        """The last layer's mean of each text; or each word's first sub-token, where asked."""
        tokens, _, attention_mask = pad(rows, self._tokenizer.vocabulary.pad_id, self.device)
        hidden: Tensor = self.encoder(tokens, Attention(self._pattern, attention_mask))
        if spans is None:
            num_tokens = torch.tensor([len(row.tokens) - 2 for row in rows], device=self.device)
            pooled: Tensor = pool(hidden[:, None], num_tokens)[:, 0, 0]
            return pooled
        at = [row.first_tokens(words) for row, words in zip(rows, spans, strict=True)]
        owner = np.repeat(np.arange(len(rows)), [len(places) for places in at])
        return hidden[torch.from_numpy(owner), torch.from_numpy(np.concatenate(at))]
