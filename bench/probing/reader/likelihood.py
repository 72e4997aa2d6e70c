"""The likelihood of sentences under a run that predicts tokens.

For a masked run it is the pseudo-log-likelihood (Salazar et al. 2020), under two policies: where
only one token of a word is hidden, the others reveal it (Kauf & Ivanova 2023). A causal run follows
the chain rule from [CLS]. Predictions are float32, their sums float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import Row, batch_tokens, batches, pad, read_rows

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import SharedEncoder

BATCH_LOGITS = 2**24
"""Logits in memory at a time: 64 MB in float32 for any vocabulary."""


class TokenScorer:
    """An encoder with a head that predicts tokens.

    Args:
        encoder: In evaluation mode; never changed.
        head: Predicts tokens from (hidden [N D], embedding [V D]).
        tokenizer: The run's own.
        scoring: Which tokens the head predicts, and at which position.
    """

    def __init__(
        self,
        encoder: SharedEncoder,
        head: nn.Module,
        tokenizer: TextTokenizer,
        scoring: Literal["masked", "shifted", "causal"],
    ) -> None:
        self.encoder, self.head = encoder, head
        self.tokenizer, self.scoring = tokenizer, scoring
        self._alone: tuple[tuple[str, ...], Float[np.ndarray, " T"]] | None = None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.encoder.token_table.device

    @property
    def room(self) -> int:
        """The number of tokens of a row besides [CLS] and [SEP]."""
        return self.encoder.shape.max_length - 2

    def log_likelihood(
        self, texts: Sequence[str], policy: Literal["original", "word_l2r"]
    ) -> Float[np.ndarray, "N 2"]:
        """(log-likelihood in nats, number of scored tokens) of each text."""
        rows = read_rows(self.tokenizer, texts, self.encoder.shape.max_length)
        if self.scoring == "causal":
            total = self._chain_rule(rows)
        else:
            total = self._pseudo(texts, rows, policy)
        return np.stack((total, [(row.words >= 0).sum() for row in rows]), axis=1)

    def log_probabilities(self, hidden: Float[Tensor, "T D"]) -> Float[Tensor, "T V"]:
        """The log-probability of every token, in float32; the caller bounds T."""
        embedding = self.encoder.token_table
        logits: Tensor = self.head(hidden, embedding)
        return logits.float().log_softmax(-1)

    def logit_rows(self) -> int:
        """The number of predictions over the vocabulary that may be in memory at once."""
        return max(1, BATCH_LOGITS // self.tokenizer.vocabulary.size)

    def batches(
        self, lengths: Sequence[int] | Int[np.ndarray, " N"]
    ) -> Iterator[Int[np.ndarray, " B"]]:
        """Indices of the rows of each batch."""
        return batches(lengths, batch_tokens(self.device))

    def _pad(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor | None]:
        return pad(rows, self.tokenizer.vocabulary.pad_id, self.device)

    @torch.inference_mode()
    def _chain_rule(self, rows: Sequence[Row]) -> Float[np.ndarray, " N"]:
        """Log p(token | everything to its left), summed over each row's ordinary tokens."""
        total = np.zeros(len(rows))
        for index in self.batches([len(row.tokens) for row in rows]):
            tokens, words, attention_mask = self._pad([rows[i] for i in index])
            hidden = self.encoder(tokens, Attention("causal", attention_mask))
            b, at = (words >= 0).nonzero(as_tuple=True)
            nats = self.nats(hidden[b, at - 1], tokens[b, at])
            total[index] = np.bincount(b.cpu().numpy(), weights=nats, minlength=len(index))
        return total

    def _pseudo(
        self, texts: Sequence[str], rows: Sequence[Row], policy: str
    ) -> Float[np.ndarray, " N"]:
        """The sum over each row's tokens of their log-probabilities where they are hidden.

        A word's last token is hidden alone under both policies, so the values of the latest texts
        are cached: the second policy computes only the other tokens, about half of them.
        """
        places = [np.flatnonzero(row.words >= 0) for row in rows]
        owner = np.repeat(np.arange(len(rows)), [len(place) for place in places])
        place = np.concatenate(places)
        if self._alone is None or self._alone[0] != tuple(texts):
            self._alone = tuple(texts), self._hidden(rows, owner, place, rest_of_word=False)
        nats = self._alone[1].copy()
        if policy == "word_l2r":
            word = np.concatenate([row.words[at] for row, at in zip(rows, places, strict=True)])
            is_continued = (owner[1:] == owner[:-1]) & (word[1:] == word[:-1])
            others = np.flatnonzero(is_continued)
            nats[others] = self._hidden(rows, owner[others], place[others], rest_of_word=True)
        return np.bincount(owner, weights=nats, minlength=len(rows))

    @torch.inference_mode()
    def _hidden(
        self,
        rows: Sequence[Row],
        owner: Int[np.ndarray, " T"],
        place: Int[np.ndarray, " T"],
        rest_of_word: bool,
    ) -> Float[np.ndarray, " T"]:
        """Log p of tokens where each is hidden, with a copy of the row for each token.

        Copies are made batch by batch: all of them at once would be the text times its length.
        """
        result = np.empty(len(owner), dtype=np.float64)
        for index in self.batches(np.array([len(row.tokens) for row in rows])[owner]):
            owners, copy = np.unique(owner[index], return_inverse=True)
            tokens, words, attention_mask = self._pad([rows[i] for i in owners])
            copies = torch.from_numpy(copy).to(self.device)
            tokens, words = tokens[copies], words[copies]
            at = torch.from_numpy(place[index]).to(self.device)
            b = torch.arange(len(at), device=self.device)
            column = torch.arange(tokens.shape[1], device=self.device)
            hide = column == at[:, None]
            if rest_of_word:
                hide = (column >= at[:, None]) & (words == words[b, at][:, None])
            shown = tokens.masked_fill(hide, self.tokenizer.vocabulary.mask_id)
            attention_mask = None if attention_mask is None else attention_mask[copies]
            hidden = self.encoder(shown, Attention("full", attention_mask))
            # A row begins with [CLS], so every token has a left neighbour that predicts it.
            source = at - 1 if self.scoring == "shifted" else at
            result[index] = self.nats(hidden[b, source], tokens[b, at])
        return result

    def nats(
        self, hidden: Float[Tensor, "T D"], targets: Int[Tensor, " T"]
    ) -> Float[np.ndarray, " T"]:
        """Log p(target), a bounded number of logits at a time."""
        size = self.logit_rows()
        parts = [np.empty(0, dtype=np.float32)]
        for states, ids in zip(torch.split(hidden, size), torch.split(targets, size), strict=True):
            nats = self.log_probabilities(states).gather(1, ids[:, None])
            parts.append(nats[:, 0].cpu().numpy())
        return np.concatenate(parts)
