"""Readers with known features: random, one per word type, or planted answers.

They replace a run (`bench.probing.task.Reader`) and need no encoder. Layer 0 is always random, so a
task must find its answers in layer 1.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.probing.reader.batching import Span
from bench.probing.task import Features, NotApplicableError

if TYPE_CHECKING:
    from jaxtyping import Float

    from bench.pretraining.noise import Noise
    from bench.probing.reader.filling import FillResult
    from bench.probing.task import Reader, TrainableEncoder

WIDTH = 32
Place = tuple[str, Span | None]
"""A text, or a word of it by character range."""


@functools.lru_cache(maxsize=100_000)
def direction(*key: Hashable) -> Float[np.ndarray, " D"]:
    """A random unit vector that depends on the key alone."""
    generator = np.random.default_rng(zlib.crc32(repr(key).encode()))
    drawn = generator.standard_normal(WIDTH)
    vector: Float[np.ndarray, " D"] = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    vector.flags.writeable = False  # one array serves all callers
    return vector


@dataclasses.dataclass(frozen=True)
class Answers:
    """The planted answers of a reader."""

    vectors: Mapping[Place, Any] = dataclasses.field(default_factory=dict)
    """The features of a text, or of a word of it."""
    nats: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The log-likelihood of a text."""
    has_hidden_words: bool = False
    """Whether `word_scores` gives the hidden word the highest score."""


@dataclasses.dataclass
class SyntheticReader:
    """A reader whose features are random or planted; equal places of equal texts have equal ones.

    Args:
        answers: The planted answers.
        has_word_features: A word has the same features in every text, whatever its context.
        scoring: The kind of prediction; None: no prediction.
    """

    answers: Answers = dataclasses.field(default_factory=Answers)
    has_word_features: bool = False
    scoring: Literal["masked", "shifted", "causal"] | None = "masked"
    prepared: Path | None = None

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Two layers: the first random, the second planted."""
        pooled = np.stack([self._layers(text, None) for text in texts])
        words = [
            self._layers(text, span)
            for text, words_of_text in zip(texts, spans if spans is not None else (), strict=False)
            for span in words_of_text
        ]
        return Features(
            pooled=np.repeat(pooled[:, :, None], 3, axis=2),
            spans=None
            if spans is None
            else np.repeat(np.array(words).reshape(-1, 2, 1, WIDTH), 3, axis=2),
        )

    def log_likelihood(
        self, texts: Sequence[str], policy: Literal["original", "word_l2r"]
    ) -> Float[np.ndarray, "N 2"]:
        """The planted log-likelihood; a random one where none is planted."""
        self._demand_scoring()
        planted = self.answers.nats
        nats = [planted.get(text, -20.0 + float(direction(text, policy)[0])) for text in texts]
        return np.stack((nats, [max(1, len(text.split())) for text in texts]), axis=1)

    def word_scores(
        self, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
    ) -> Float[np.ndarray, "N C"]:
        """Random scores; the hidden word is far above the others where it is planted."""
        self._demand_scoring()
        rows = []
        for text, (start, end) in zip(texts, spans, strict=True):
            generator = np.random.default_rng(zlib.crc32(f"{start} {text}".encode()))
            scores = generator.uniform(-20, -10, len(candidates))
            if self.answers.has_hidden_words and text[start:end] in candidates:
                scores[list(candidates).index(text[start:end])] = -1.0
            rows.append(scores)
        return np.array(rows)

    def fill(self, text: str, k: int = 5) -> FillResult:
        """`k` words that are equally likely, at each [MASK] or after the text."""
        from bench.probing.reader.filling import FillResult

        self._demand_scoring()
        words = [(f"word{number}", 1 / k) for number in range(k)]
        if "[MASK]" in text:
            filled = text.replace("[MASK]", words[0][0])
            return FillResult([words] * text.count("[MASK]"), filled, is_continued=False)
        return FillResult([words], f"{text} {words[0][0]}", is_continued=True)

    def joint_nats(self, texts: Sequence[str], spans: Sequence[Span]) -> Float[np.ndarray, "N 3"]:
        """Minus two nats for each of two tokens, in both ways: nothing is joint."""
        self._demand_scoring()
        return np.tile([-4.0, -4.0, 2.0], (len(texts), 1))

    def mean_states(
        self,
        texts: Sequence[str],
        corruption: Literal["none", "mask", "remove"],
        share: float,
        noise: Noise,
    ) -> Float[np.ndarray, "N 2 D"]:
        """The features of each text, which no corruption changes."""
        return np.stack([self._layers(text, None) for text in texts])

    def copy_for_finetuning(self) -> TrainableEncoder:
        """Refuse: this reader has no encoder.

        Raises:
            NotApplicableError: Always.
        """
        raise NotApplicableError("a reader of the conformance kit has no encoder to train")

    def reader_of(self, copy: Any) -> Reader:
        """Refuse: this reader has no encoder.

        Raises:
            NotApplicableError: Always.
        """
        raise NotApplicableError("a reader of the conformance kit has no encoder to train")

    def _demand_scoring(self) -> None:
        if self.scoring is None:
            raise NotApplicableError("this reader predicts no tokens")

    def _layers(self, text: str, span: Span | None) -> Float[np.ndarray, "2 D"]:
        span = None if span is None else (int(span[0]), int(span[1]))
        blind = direction(text, span)
        known = self.answers.vectors.get((text, span))
        if known is None:
            is_word = self.has_word_features and span is not None
            known = direction(text[slice(*span)]) if is_word and span is not None else blind
        return np.stack((direction("layer 0", text, span), known))
