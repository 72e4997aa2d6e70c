"""A finished run as tasks may use it: frozen features, sentence scores, hidden words.

A text is the row `[CLS] tokens [SEP]`; a text longer than the encoder reads is several rows that
overlap by half, so that no word is lost. Rows go through the encoder sorted by length in batches of
bounded size, and a text goes through once, however many layers are used. Pooling covers the text's
own tokens: the states of [CLS] and [SEP] say little about the text, and averaging them in would
favour the objectives that train them.

Rounding depends on the other rows of a batch: the features of a text differ in their last bits from
call to call, and a probe that has not converged turns that into another score. Therefore a call
takes features over from an equal call only, and a score does not depend on what was scored before
it. The features of such calls stay in memory, up to a bound; the least recently used go first.
They are float32: half precision would lose 0.1 % of a feature's size, and a feature whose mean is
far from zero carries its information in less than that.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from bench.pretraining.batch import Attention
from bench.probing.reader.batching import (
    Span,
    Window,
    batch_tokens,
    batches,
    pad,
    pool,
    pool_words,
    read_windows,
)
from bench.probing.reader.likelihood import TokenScorer
from bench.probing.reader.trainable import EncoderCopy
from bench.probing.task import Features, NotApplicableError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import nn

    from bench.corpus.tokenizer import TextTokenizer
    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.noise import Noise
    from bench.probing.reader.filling import FillResult

MAX_BYTES = 2**29
"""Calls are mostly repeated within a task: by its second metric and its other probes."""

LARGE_BYTES = 2**32
"""The features of a larger set lie in a temporary file: at `base`, those of 20,000 texts."""

Words = tuple[Span, ...]
Call = tuple[tuple[str, ...], tuple[Words, ...] | None]
"""Texts, and the requested words of each."""


@dataclasses.dataclass(frozen=True, eq=False)
class TextFeatures:
    """The features of one text."""

    pooled: Float[np.ndarray, "S 3 D"]
    words: Float[np.ndarray, "T S 3 D"]
    truncated: bool


class FeatureCache:
    """The features of the latest calls, by their texts and requested words."""

    def __init__(self) -> None:
        self._features: OrderedDict[Call, Features] = OrderedDict()
        self.bytes = 0

    def get(self, call: Call) -> Features | None:
        """The features, if they are still in memory."""
        features = self._features.get(call)
        if features is not None:
            self._features.move_to_end(call)
        return features

    def put(self, call: Call, features: Features) -> None:
        """Add features, read-only from now on, and drop the least recently used over the bound."""
        for array in _arrays(features):
            array.flags.writeable = False
        self._features[call] = features
        self.bytes += sum(array.nbytes for array in _arrays(features))
        while self.bytes > MAX_BYTES:
            _, oldest = self._features.popitem(last=False)
            self.bytes -= sum(array.nbytes for array in _arrays(oldest))


def _arrays(features: Features) -> list[np.ndarray]:
    return [array for array in (features.pooled, features.spans) if array is not None]


def _room(shape: tuple[int, ...]) -> Float[np.ndarray, ...]:
    """An empty array; on disk if it is large, so that the system may take its memory back."""
    if 4 * math.prod(shape) <= LARGE_BYTES:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))


class RunReader:
    """Reads texts with one frozen encoder (the protocol `bench.probing.task.Reader`).

    Args:
        encoder: The trained encoder; put in evaluation mode, never changed.
        head: Predicts tokens from (hidden [N D], embedding [V D]), or None.
        tokenizer: The run's own.
        scoring: How a sentence is scored, or None where the objective predicts no tokens.
        pattern: The attention pattern of the objective's features.
        attention: `bidirectional` evaluates a causal run with full attention.
        prepared: The prepared corpus, from which a contrastive stage takes its pairs.
    """

    def __init__(
        self,
        encoder: SharedEncoder,
        head: nn.Module | None,
        tokenizer: TextTokenizer,
        scoring: Literal["masked", "shifted", "causal"] | None,
        pattern: Literal["full", "causal"] = "full",
        attention: Literal["native", "bidirectional"] = "native",
        prepared: Path | None = None,
    ) -> None:
        self.encoder = encoder.eval()
        self.tokenizer = tokenizer
        self.scoring = None if head is None else scoring
        self.attention = attention
        self._head = None if head is None else head.eval()
        self._pattern = pattern if attention == "native" else "full"
        self._cache = FeatureCache()
        self._tokens: TokenScorer | None = None
        self.prepared = prepared

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Frozen features; `spans` requests words by character range [start, end)."""
        words = None if spans is None else tuple(tuple(each) for each in spans)
        call = tuple(texts), words
        cached = self._cache.get(call)
        if cached is None:
            cached = self._read(*call)
            self._cache.put(call, cached)
        return cached

    def _read(self, texts: Sequence[str], words: Sequence[Words] | None) -> Features:
        spans = [()] * len(texts) if words is None else words
        places: dict[tuple[str, Words], list[int]] = {}
        for place, key in enumerate(zip(texts, spans, strict=True)):
            places.setdefault(key, []).append(place)
        first_word = np.cumsum([0, *map(len, spans)])
        pooled = of_words = np.empty(0, dtype=np.float32)
        truncated = 0
        # One text at a time goes to its place, so that a large set is never twice in memory.
        for key, features in self._encode(list(places)):
            if not len(pooled):
                pooled = _room((len(texts), *features.pooled.shape))
                of_words = _room((int(first_word[-1]), *features.pooled.shape))
            for place in places[key]:
                pooled[place] = features.pooled
                of_words[first_word[place] : first_word[place + 1]] = features.words
                truncated += features.truncated
        return Features(pooled, None if words is None else of_words, truncated)

    def log_likelihood(
        self, texts: Sequence[str], policy: Literal["original", "word_l2r"] = "original"
    ) -> Float[np.ndarray, "N 2"]:
        """(log-likelihood in nats, number of scored tokens) of each text.

        A masked run hides one token after the other and sums their log-probabilities
        (pseudo-log-likelihood, Salazar et al. 2020); `word_l2r` also hides the rest of the same
        word to the right (Kauf & Ivanova 2023). A causal run follows the chain rule from [CLS];
        the policy changes nothing there. Predictions are float32, their sum float64.

        Raises:
            NotApplicableError: The objective predicts no tokens, or a causal run is evaluated with
                full attention, under which it would see the tokens that it predicts.
        """
        return self._scorer().log_likelihood(texts, policy)

    def word_scores(
        self, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
    ) -> Float[np.ndarray, "N C"]:
        """The log-probability of each candidate, in nats, where `text[start:end]` is hidden.

        Raises:
            NotApplicableError: As `log_likelihood`.
        """
        from bench.probing.reader.filling import word_scores

        return word_scores(self._scorer(), texts, spans, candidates)

    def fill(self, text: str, k: int = 5) -> FillResult:
        """The likeliest tokens at each [MASK] of a text, or after the text for a causal run.

        Raises:
            NotApplicableError: As `log_likelihood`.
            BenchError: There is no [MASK], or the text is longer than the encoder reads.
        """
        from bench.probing.reader.filling import fill

        return fill(self._scorer(), text, k)

    def joint_nats(self, texts: Sequence[str], spans: Sequence[Span]) -> Float[np.ndarray, "N 3"]:
        """Log p of the tokens of `text[start:end]` hidden at once, and from left to right; number.

        Raises:
            NotApplicableError: As `log_likelihood`.
        """
        from bench.probing.reader.diagnosis import joint_nats

        return joint_nats(self._scorer(), texts, spans)

    def mean_states(
        self,
        texts: Sequence[str],
        corruption: Literal["none", "mask", "remove"],
        share: float,
        noise: Noise,
    ) -> Float[np.ndarray, "N S D"]:
        """The mean of each text's tokens where a share of them is replaced by [MASK] or removed."""
        from bench.probing.reader.diagnosis import mean_states

        tokenizer, pattern = self.tokenizer, self._pattern
        return mean_states(self.encoder, tokenizer, pattern, texts, corruption, share, noise)

    def copy_for_finetuning(self) -> EncoderCopy:
        """A copy of the encoder that may be trained; this one does not change."""
        return EncoderCopy(self.encoder, self.tokenizer, self._pattern)

    def reader_of(self, copy: EncoderCopy) -> RunReader:
        """A reader of the features of a copy, as they are after its training."""
        return RunReader(copy.encoder, None, self.tokenizer, None, self._pattern)

    def _scorer(self) -> TokenScorer:
        if self._head is None or self.scoring is None:
            raise NotApplicableError("the objective predicts no tokens")
        if self.scoring == "causal" and self.attention == "bidirectional":
            raise NotApplicableError(
                "with full attention a causal run sees the tokens that it predicts"
            )
        if self._tokens is None:
            self._tokens = TokenScorer(self.encoder, self._head, self.tokenizer, self.scoring)
        return self._tokens

    @torch.inference_mode()
    def _encode(
        self, keys: Sequence[tuple[str, Words]]
    ) -> Iterator[tuple[tuple[str, Words], TextFeatures]]:
        """The features of texts, and of words in them, as soon as a text is complete."""
        device = self.encoder.token_table.device
        texts = [text for text, _ in keys]
        windows = read_windows(self.tokenizer, texts, self.encoder.shape.max_length)
        parts: list[list[WindowFeatures]] = [[] for _ in keys]
        num_windows = np.bincount([window.text for window in windows], minlength=len(keys))
        own_words = _words_of(windows, [words for _, words in keys])
        for index in batches([len(w.row.tokens) for w in windows], batch_tokens(device)):
            batch = [windows[i] for i in index]
            tokens, _, attention_mask = pad(
                [window.row for window in batch], self.tokenizer.vocabulary.pad_id, device
            )
            states = self.encoder.hidden_states(tokens, Attention(self._pattern, attention_mask))
            hidden = torch.stack(states, dim=1).float()
            low, high = (
                torch.tensor([getattr(window, end) for window in batch], device=device)
                for end in ("low", "high")
            )
            pooled = pool(hidden, low, high).cpu().numpy()
            chosen = [own_words[i] for i in index]
            owner = np.repeat(np.arange(len(batch)), [len(order) for order, _ in chosen])
            places = np.concatenate([places for _, places in chosen])
            words = pool_words(hidden, owner, places).cpu().numpy()
            for b, (i, window) in enumerate(zip(index, batch, strict=True)):
                # A copy: a view would keep the features of its whole batch alive.
                own = WindowFeatures(i, window, pooled[b].copy(), chosen[b][0], words[owner == b])
                parts[window.text].append(own)
                if len(parts[window.text]) == num_windows[window.text]:
                    yield keys[window.text], _joined(parts[window.text])
                    parts[window.text].clear()


@dataclasses.dataclass(frozen=True, eq=False)
class WindowFeatures:
    """The features of one window of a text."""

    place: int
    window: Window
    pooled: Float[np.ndarray, "S 3 D"]
    order: Int[np.ndarray, " T"]
    """The indices of its words among the words requested of the text."""
    words: Float[np.ndarray, "T S 3 D"]


def _words_of(
    windows: Sequence[Window], spans: Sequence[Words]
) -> list[tuple[Int[np.ndarray, " T"], Int[np.ndarray, "T 2"]]]:
    """Indices and places of the words that each text takes from each of its windows.

    The first window of a text also has the words that no window contains, at the [CLS].
    """
    if not any(spans):
        none = np.empty(0, dtype=np.int64)
        return [(none, none.reshape(0, 2))] * len(windows)
    chosen: list[tuple[np.ndarray, np.ndarray]] = []
    first_window = 0
    for i, window in enumerate(windows):
        if i and windows[i - 1].text != window.text:
            first_window = i
        places = window.row.places(spans[window.text])
        is_own = (places[:, 0] >= window.low) & (places[:, 0] < window.high)
        chosen.append((np.flatnonzero(is_own), places[is_own]))
        if i + 1 == len(windows) or windows[i + 1].text != window.text:
            orders = [order for order, _ in chosen[first_window:]]
            missing = np.setdiff1d(np.arange(len(places)), np.concatenate(orders))
            order, places = chosen[first_window]
            at_cls = np.zeros((len(missing), 2), dtype=np.int64)
            chosen[first_window] = (
                np.concatenate((order, missing)),
                np.concatenate((places, at_cls)),
            )
    return chosen


def _joined(parts: list[WindowFeatures]) -> TextFeatures:
    """The features of a text from those of its windows."""
    parts.sort(key=lambda part: part.place)
    counts = [max(part.window.high - part.window.low, 1) for part in parts]
    pooled = parts[0].pooled
    if len(parts) > 1:
        mean = np.average([part.pooled[:, 0] for part in parts], axis=0, weights=counts)
        pooled = np.stack((mean, pooled[:, 1], parts[-1].pooled[:, 2]), axis=1).astype(np.float32)
    order = np.concatenate([part.order for part in parts])
    words = np.concatenate([part.words for part in parts])[np.argsort(order, kind="stable")]
    return TextFeatures(pooled, words, parts[0].window.row.truncated)
