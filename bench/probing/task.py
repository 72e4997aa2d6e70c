"""The contract of a downstream task: it asks a frozen encoder and knows what guessing scores.

A task sees a `Reader`, never the objective; it returns per-example outcomes, because paired tests
need them. `value` alone is what a table prints.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from bench.settings import as_mapping

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jaxtyping import Float, Int

    from bench.pretraining.noise import Noise
    from bench.probing.reader.trainable import TrainableEncoder

PROTOCOL = 2
"""Raised whenever the machine reads the same features otherwise than before. The code of this
module is part of every score's key, so that a score of the old way is never taken for a new one."""

Probe = Literal["linear", "mlp", "knn", "finetune"]
"""How a question is read off an encoder: a linear probe of frozen features, one with a hidden
layer, their nearest neighbours; or the encoder is trained on."""
PROBES: tuple[Probe, ...] = ("linear", "mlp", "knn", "finetune")

Span = tuple[int, int]
"""A word by its characters, [start, end)."""


class NotApplicableError(Exception):
    """The reader cannot answer this kind of question: the cell says so and is never a zero."""


@dataclasses.dataclass(frozen=True)
class DataRoot:
    """Where labelled data comes from."""

    folder: Path | None = None
    """`--data DIR`, laid out `NAME/SPLIT.parquet`; None: the hub, through the `hf` extra."""
    limit: int | None = None
    """`--limit N`: at most N examples of each split (the first N after a seeded shuffle)."""
    size: str = "tiny"
    """The size dial, for generated tasks that grow with it."""
    prepared: Path | None = None
    """The prepared corpus, for questions made from its held-out part; None: not prepared yet."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """The examples of a task. `dev` is cut from `train` by the family where a probe needs it."""

    train: pd.DataFrame
    test: pd.DataFrame
    sha256: str
    """Fingerprint of the data as loaded: part of the score's key."""


@dataclasses.dataclass(frozen=True)
class Score:
    """What one reader got on one task."""

    value: float
    """The headline reading, in the task's metric."""
    stderr: float
    """Its sampling error over examples."""
    outcomes: pd.DataFrame
    """A row per test example: `example`, `outcome` (its mean is `value` for accuracies), ..."""
    metrics: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Every reading by name with its (value, stderr), the headline first. Where that bears the
    metric's name, the others are metrics of their own (f1, accuracy), of which no chance level is
    known; else all are ways to the one metric (PLL policies)."""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values: chosen layer and pooling, the grid, selectivity, tie rate, buckets."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Frozen features of some texts. N texts, S layers (embeddings first), D width."""

    pooled: Float[np.ndarray, "N S 3 D"]
    """Mean, first and last over a text's tokens, in the order of `POOLINGS`."""
    spans: Float[np.ndarray, "T S D"] | None = None
    """The first sub-token of each asked word, texts and words in the order asked."""
    truncated: int = 0
    """How many of the texts were longer than the encoder reads."""


POOLINGS = ("mean", "first", "last")


class Reader(Protocol):
    """A finished run as a task may use it."""

    scoring: Literal["masked", "shifted", "causal"] | None
    """What the objective predicts: hidden tokens (`shifted`: each one position to its left), next
    tokens, or none at all."""

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Frozen features; `spans` asks for words by character range [start, end)."""
        ...

    def readable(self, texts: Sequence[str]) -> Int[np.ndarray, " N"]:
        """How many characters of each text the encoder reads, from its beginning."""
        ...

    def log_likelihood(
        self, texts: Sequence[str], policy: Literal["original", "word_l2r"]
    ) -> Float[np.ndarray, "N 2"]:
        """(log-likelihood in nats, number of scored tokens) of each text, in float32.

        Pseudo-log-likelihood for a masked objective (two policies), the chain rule for a causal
        one (the policy changes nothing).

        Raises:
            NotApplicableError: The objective predicts no tokens.
        """
        ...

    def word_scores(
        self, texts: Sequence[str], spans: Sequence[Span], candidates: Sequence[str]
    ) -> Float[np.ndarray, "N C"]:
        """How likely each candidate is, in nats, where `text[start:end]` is hidden.

        Raises:
            NotApplicableError: The objective predicts no tokens.
        """
        ...

    def copy_for_finetuning(self) -> TrainableEncoder:
        """The encoder once more, to be trained; this one stays as it is."""
        ...


class Task(ABC):
    """One downstream question. Subclass a family of `bench.probing` rather than this."""

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    metric: ClassVar[str]
    family: ClassVar[str]
    chance: ClassVar[float]
    """What guessing scores, in the metric."""
    size: ClassVar[tuple[int, int] | None] = None
    """How many of train and of test there are, as published or as generated."""
    suites: ClassVar[tuple[str, ...]] = ()
    """Names under which `--tasks` asks for several tasks at once."""
    probe_settings: ClassVar[Any] = None
    """Settings of the family's probe (part of the score's key); None where nothing is fitted."""
    probes: ClassVar[tuple[Probe, ...]] = ()
    """The ways it can be read; none where nothing is fitted, so that there is one way only."""
    probe: Probe = "linear"
    """The way it is read, of `modes`; set it before asking."""

    def identity(self) -> dict[str, Any]:
        """What of the reading is part of the score's key, as plain values."""
        found = {} if self.probe_settings is None else as_mapping(self.probe_settings)
        return found | ({"probe": self.probe} if self.probes else {})

    def require(self, data: DataRoot) -> None:  # noqa: B027  # nothing to require of generated data
        """Say before anything starts what the data set lacks; reads no example.

        Raises:
            BenchError: Where the data set was looked for, and the way out.
        """

    def check(self, splits: Splits) -> None:  # noqa: B027  # a family knows its own columns
        """Say what makes loaded examples unusable, before an encoder is trained for them.

        Raises:
            BenchError: A missing column, missing labels, one class, too few rows.
        """

    @abstractmethod
    def load(self, data: DataRoot) -> Splits:
        """Read the examples.

        Raises:
            BenchError: The data set is missing or malformed; says where it was looked for.
        """

    @abstractmethod
    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Ask the reader; deterministic given its arguments."""

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """What no encoder is needed for: majority, bag-of-words, window of words."""
        return {}
