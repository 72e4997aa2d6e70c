"""A finished run as tasks may use it: frozen features and sentence scores.

A text is the row `[CLS] tokens [SEP]`, cut to what the encoder reads. Rows go through the encoder
sorted by length in batches of bounded size, and a text goes through once however many tasks and
layers read it. Pooling covers the text's own tokens: what an objective makes of [CLS] and [SEP]
says little of the text, and averaging them in would favour the objectives that train them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.rows import Row, Span, batches, pad, read_rows
from bench.probing.task import Features, NotApplicableError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import Encoder

CPU_BATCH_TOKENS = 4_096
"""Padded tokens of a batch; 30 % faster than 16,384 on one core, whose cache it outgrows."""
GPU_BATCH_TOKENS = 32_768
BATCH_LOGITS = 2**24
"""Logits held at a time: 64 MB in float32, whatever the vocabulary."""
CACHE_BYTES = 2**30
"""Features kept between calls; beyond it all are forgotten."""


class RunReader:
    """Reads texts with one frozen encoder (the protocol `bench.probing.task.Reader`).

    Args:
        encoder: The trained encoder; put in evaluation mode, never changed.
        head: What predicts tokens from (hidden [N D], embedding [V D]), or None.
        tokenizer: The run's own.
        scoring: How a sentence is scored, or None where the objective predicts no tokens.
        reading: The attention under which the objective has its features read.
        attention: `bidirectional` reads a causal run with full attention.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module | None,
        tokenizer: TextTokenizer,
        scoring: Literal["masked", "shifted", "causal"] | None,
        reading: Literal["full", "causal"] = "full",
        attention: Literal["native", "bidirectional"] = "native",
    ) -> None:
        self.encoder = encoder.eval()
        self.head = None if head is None else head.eval()
        self.tokenizer = tokenizer
        self.scoring = None if head is None else scoring
        self.attention = attention
        self._pattern = reading if attention == "native" else "full"
        self._texts: dict[str, tuple[Float[np.ndarray, "S 3 D"], bool]] = {}
        self._words: dict[tuple[str, tuple[Span, ...]], Float[np.ndarray, "T S D"]] = {}
        self._cached_bytes = 0
        self._alone: tuple[tuple[str, ...], Float[np.ndarray, " T"]] | None = None

    @property
    def _device(self) -> torch.device:
        return self.encoder.embeddings.tok_embeddings.weight.device

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Frozen features; `spans` asks for words by character range [start, end)."""
        words_asked = [()] * len(texts) if spans is None else spans
        asked = [(text, tuple(words)) for text, words in zip(texts, words_asked, strict=True)]
        self._encode(
            [
                (text, words)
                for text, words in dict.fromkeys(asked)
                if text not in self._texts or (words and (text, words) not in self._words)
            ]
        )
        found = Features(
            pooled=np.stack([self._texts[text][0] for text in texts]),
            spans=None
            if spans is None
            else np.concatenate([self._words[one] for one in asked if one[1]]),
            truncated=sum(self._texts[text][1] for text in texts),
        )
        if self._cached_bytes > CACHE_BYTES:
            self._texts.clear()
            self._words.clear()
            self._cached_bytes = 0
        return found

    def log_likelihood(
        self, texts: Sequence[str], policy: Literal["original", "word_l2r"] = "original"
    ) -> Float[np.ndarray, "N 2"]:
        """(log-likelihood in nats, number of scored tokens) of each text.

        A masked run hides one token after the other and adds up what it would have said
        (pseudo-log-likelihood, Salazar et al. 2020); `word_l2r` also hides the rest of the same
        word to the right (Kauf & Ivanova 2023). A causal run follows the chain rule from [CLS];
        the policy changes nothing there. Predictions are float32, their sum float64.

        Raises:
            NotApplicableError: The objective predicts no tokens, or a causal run is read with
                full attention, where it would see what it has to predict.
        """
        if self.scoring is None:
            raise NotApplicableError("the objective predicts no tokens")
        if self.scoring == "causal" and self.attention == "bidirectional":
            raise NotApplicableError("with full attention a causal run sees what it predicts")
        rows = self._rows(texts)
        if self.scoring == "causal":
            total = self._chain_rule(rows)
        else:
            total = self._pseudo(texts, rows, policy)
        return np.stack((total, [(row.words >= 0).sum() for row in rows]), axis=1)

    def _rows(self, texts: Sequence[str]) -> list[Row]:
        return read_rows(self.tokenizer, texts, self.encoder.shape.max_length)

    def _pad(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor | None]:
        return pad(rows, self.tokenizer.vocabulary.pad_id, self._device)

    def _batches(
        self, lengths: Sequence[int] | Int[np.ndarray, " N"]
    ) -> Iterator[Int[np.ndarray, " B"]]:
        on_cpu = self._device.type == "cpu"
        return batches(lengths, CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS)

    @torch.inference_mode()
    def _encode(self, pairs: Sequence[tuple[str, tuple[Span, ...]]]) -> None:
        """Put the features of texts, and of words in them, into the cache."""
        rows = self._rows([text for text, _ in pairs])
        for index in self._batches([len(row.tokens) for row in rows]):
            tokens, _, present = self._pad([rows[i] for i in index])
            states = self.encoder.hidden_states(tokens, Attention(self._pattern, present))
            hidden = torch.stack(states, dim=1).float()
            num_tokens = torch.tensor([len(rows[i].tokens) - 2 for i in index])
            pooled = pool(hidden, num_tokens.to(self._device)).cpu().numpy()
            for b, i in enumerate(index):
                text, spans = pairs[i]
                at = torch.from_numpy(rows[i].first_tokens(spans)).to(self._device)
                vectors = hidden[b][:, at].transpose(0, 1).cpu().numpy()
                self._texts[text] = pooled[b].copy(), rows[i].truncated
                self._words[text, spans] = vectors
                self._cached_bytes += pooled[b].nbytes + vectors.nbytes

    @torch.inference_mode()
    def _chain_rule(self, rows: Sequence[Row]) -> Float[np.ndarray, " N"]:
        """Log p(token | everything to its left), summed over each row's ordinary tokens."""
        total = np.zeros(len(rows))
        for index in self._batches([len(row.tokens) for row in rows]):
            tokens, words, present = self._pad([rows[i] for i in index])
            hidden = self.encoder(tokens, Attention("causal", present))
            b, at = (words >= 0).nonzero(as_tuple=True)
            nats = self._log_probabilities(hidden[b, at - 1], tokens[b, at])
            total[index] = np.bincount(b.cpu().numpy(), weights=nats, minlength=len(index))
        return total

    def _pseudo(
        self, texts: Sequence[str], rows: Sequence[Row], policy: str
    ) -> Float[np.ndarray, " N"]:
        """Each row's tokens as predicted where they are hidden, summed.

        A word's last token is hidden alone under both policies, so the last texts' tokens are
        remembered: the second policy costs only the others, about half of them.
        """
        places = [np.flatnonzero(row.words >= 0) for row in rows]
        owner = np.repeat(np.arange(len(rows)), [len(place) for place in places])
        place = np.concatenate(places)
        if self._alone is None or self._alone[0] != tuple(texts):
            self._alone = tuple(texts), self._hidden(rows, owner, place, rest_of_word=False)
        nats = self._alone[1].copy()
        if policy == "word_l2r":
            word = np.concatenate([row.words[at] for row, at in zip(rows, places, strict=True)])
            goes_on = (owner[1:] == owner[:-1]) & (word[1:] == word[:-1])
            more = np.flatnonzero(goes_on)
            nats[more] = self._hidden(rows, owner[more], place[more], rest_of_word=True)
        return np.bincount(owner, weights=nats, minlength=len(rows))

    @torch.inference_mode()
    def _hidden(
        self,
        rows: Sequence[Row],
        owner: Int[np.ndarray, " T"],
        place: Int[np.ndarray, " T"],
        rest_of_word: bool,
    ) -> Float[np.ndarray, " T"]:
        """Log p of one token of a row where it is hidden, one copy of the row for each.

        Copies are made batch by batch: all of them at once would be the text times its length.
        """
        found = np.empty(len(owner), dtype=np.float64)
        for index in self._batches(np.array([len(row.tokens) for row in rows])[owner]):
            owners, copy = np.unique(owner[index], return_inverse=True)
            tokens, words, present = self._pad([rows[i] for i in owners])
            copies = torch.from_numpy(copy).to(self._device)
            tokens, words = tokens[copies], words[copies]
            at = torch.from_numpy(place[index]).to(self._device)
            b = torch.arange(len(at), device=self._device)
            column = torch.arange(tokens.shape[1], device=self._device)
            hide = column == at[:, None]
            if rest_of_word:
                hide = (column >= at[:, None]) & (words == words[b, at][:, None])
            shown = tokens.masked_fill(hide, self.tokenizer.vocabulary.mask_id)
            present = None if present is None else present[copies]
            hidden = self.encoder(shown, Attention("full", present))
            # A row begins with [CLS], so that a token always has a left neighbour to be read at.
            read = at - 1 if self.scoring == "shifted" else at
            found[index] = self._log_probabilities(hidden[b, read], tokens[b, at])
        return found

    def _log_probabilities(
        self, hidden: Float[Tensor, "T D"], targets: Int[Tensor, " T"]
    ) -> Float[np.ndarray, " T"]:
        """Log p(target) in float32, a bounded number of logits at a time."""
        assert self.head is not None  # `scoring` is None without a head
        embedding = self.encoder.embeddings.tok_embeddings.weight
        size = max(1, BATCH_LOGITS // len(embedding))
        found = [np.empty(0, dtype=np.float32)]
        for part, wanted in zip(torch.split(hidden, size), torch.split(targets, size), strict=True):
            nats = self.head(part, embedding).float().log_softmax(-1)
            found.append(nats.gather(1, wanted[:, None])[:, 0].cpu().numpy())
        return np.concatenate(found)


def pool(
    hidden: Float[Tensor, "B S L D"], num_tokens: Int[Tensor, " B"]
) -> Float[Tensor, "B S 3 D"]:
    """Mean, first and last of each text's own tokens; its [CLS] where it has none."""
    b = torch.arange(len(hidden), device=hidden.device)
    first = (num_tokens > 0).long()
    column = torch.arange(hidden.shape[2], device=hidden.device)
    own = (column >= first[:, None]) & (column <= num_tokens[:, None])
    mean = (hidden * own[:, None, :, None]).sum(2) / own.sum(1)[:, None, None]
    return torch.stack((mean, hidden[b, :, first], hidden[b, :, num_tokens]), dim=2)
