"""A finished run as tasks may use it: frozen features, sentence scores, hidden words.

A text is the row `[CLS] tokens [SEP]`, cut to what the encoder reads. Rows go through the encoder
sorted by length in batches of bounded size, and a text goes through once however many tasks and
layers read it. Pooling covers the text's own tokens: what an objective makes of [CLS] and [SEP]
says little of the text, and averaging them in would favour the objectives that train them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import batch_tokens, batches, pad, pool, read_rows
from bench.probing.reader.cache import FeatureCache, Read, Words
from bench.probing.reader.likelihood import TokenScorer
from bench.probing.reader.trainable import TrainableEncoder
from bench.probing.task import Features, NotApplicableError, Span

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import nn

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import Encoder
    from bench.probing.reader.filling import Filled


class RunReader:
    """Reads texts with one frozen encoder (the protocol `bench.probing.task.Reader`).

    Args:
        encoder: The trained encoder; put in evaluation mode, never changed.
        head: What predicts tokens from (hidden [N D], embedding [V D]), or None.
        tokenizer: The run's own.
        scoring: How a sentence is scored, or None where the objective predicts no tokens.
        pattern: The attention under which the objective has its features read.
        attention: `bidirectional` reads a causal run with full attention.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module | None,
        tokenizer: TextTokenizer,
        scoring: Literal["masked", "shifted", "causal"] | None,
        pattern: Literal["full", "causal"] = "full",
        attention: Literal["native", "bidirectional"] = "native",
    ) -> None:
        self.encoder = encoder.eval()
        self.tokenizer = tokenizer
        self.scoring = None if head is None else scoring
        self.attention = attention
        self._head = None if head is None else head.eval()
        self._pattern = pattern if attention == "native" else "full"
        self._cache = FeatureCache()
        self._tokens: TokenScorer | None = None

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Frozen features; `spans` asks for words by character range [start, end)."""
        words = [()] * len(texts) if spans is None else [tuple(asked) for asked in spans]
        keys = list(zip(texts, words, strict=True))
        found = {key: self._cache.get(*key) for key in keys}
        read = self._encode([key for key, known in found.items() if known is None])
        everything = [found[key] or read[key] for key in keys]
        for (text, asked), one in zip(keys, everything, strict=True):
            self._cache.put(text, (), one)
            self._cache.put(text, asked, one)
        return Features(
            pooled=np.stack([one.pooled for one in everything]),
            spans=None if spans is None else np.concatenate([one.words for one in everything]),
            truncated=sum(one.truncated for one in everything),
        )

    def readable(self, texts: Sequence[str]) -> Int[np.ndarray, " N"]:
        """How many characters of each text the encoder reads, from its beginning."""
        rows = read_rows(self.tokenizer, texts, self.encoder.shape.max_length)
        return np.array(
            [
                int(row.ends[-1]) if row.truncated else len(text)
                for row, text in zip(rows, texts, strict=True)
            ],
            dtype=np.int64,
        )

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
        return self._scorer().log_likelihood(texts, policy)

    def word_scores(
        self, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
    ) -> Float[np.ndarray, "N C"]:
        """How likely each candidate is, in nats, where `text[start:end]` is hidden.

        Raises:
            NotApplicableError: As `log_likelihood`.
        """
        from bench.probing.reader.filling import word_scores

        return word_scores(self._scorer(), texts, spans, candidates)

    def fill(self, text: str, k: int = 5) -> Filled:
        """The likeliest tokens at each [MASK] of a text, or after it for a causal run.

        Raises:
            NotApplicableError: As `log_likelihood`.
            BenchError: There is no [MASK], or the text is longer than the encoder reads.
        """
        from bench.probing.reader.filling import fill

        return fill(self._scorer(), text, k)

    def copy_for_finetuning(self) -> TrainableEncoder:
        """The encoder once more, to be trained; this one stays as it is."""
        return TrainableEncoder(self.encoder, self.tokenizer, self._pattern)

    def _scorer(self) -> TokenScorer:
        if self._head is None or self.scoring is None:
            raise NotApplicableError("the objective predicts no tokens")
        if self.scoring == "causal" and self.attention == "bidirectional":
            raise NotApplicableError("with full attention a causal run sees what it predicts")
        if self._tokens is None:
            self._tokens = TokenScorer(self.encoder, self._head, self.tokenizer, self.scoring)
        return self._tokens

    @torch.inference_mode()
    def _encode(self, keys: Sequence[tuple[str, Words]]) -> dict[tuple[str, Words], Read]:
        """The features of texts, and of words in them."""
        device = self.encoder.embeddings.tok_embeddings.weight.device
        rows = read_rows(self.tokenizer, [text for text, _ in keys], self.encoder.shape.max_length)
        found: dict[tuple[str, Words], Read] = {}
        for index in batches([len(row.tokens) for row in rows], batch_tokens(device)):
            tokens, _, attention_mask = pad(
                [rows[i] for i in index], self.tokenizer.vocabulary.pad_id, device
            )
            states = self.encoder.hidden_states(tokens, Attention(self._pattern, attention_mask))
            hidden = torch.stack(states, dim=1).float()
            num_tokens = torch.tensor([len(rows[i].tokens) - 2 for i in index], device=device)
            pooled = pool(hidden, num_tokens).cpu().numpy()
            for b, i in enumerate(index):
                at = torch.from_numpy(rows[i].first_tokens(keys[i][1])).to(device)
                words = hidden[b][:, at].transpose(0, 1).cpu().numpy()
                # A copy: a view would keep the features of its whole batch alive.
                found[keys[i]] = Read(pooled[b].copy(), words, rows[i].truncated)
        return found
