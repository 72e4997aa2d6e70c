"""The contract of a downstream task: it evaluates a frozen encoder and declares its chance level.

A task sees a `Reader` and never the objective. It returns an outcome for each test example, because
paired tests need them; a table prints `Score.value` alone.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from bench.errors import refuse_misspelt_methods
from bench.settings import as_mapping, changed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from jaxtyping import Float

    from bench.pretraining.noise import Noise
    from bench.probing.reader.batching import Row, Span
    from bench.probing.reader.filling import FillResult

PROTOCOL = 7
"""Raise this number whenever the evaluation computes other values from the same features. The code
of this module is part of every score's key, so a score of the old protocol is never mistaken for
one of the new protocol."""

Probe = Literal["linear", "mlp", "knn", "finetune", "contrastive"]
"""The method of evaluation: a linear probe of frozen features, a probe with one hidden layer,
nearest neighbours in the features, fine-tuning of the encoder, or cosines after a contrastive stage
on the corpus."""
PROBES: tuple[Probe, ...] = ("linear", "mlp", "knn", "finetune", "contrastive")

POOLINGS = ("mean", "first", "last")
"""The poolings of a text's tokens, in the order of `Features.pooled`."""


class NotApplicableError(Exception):
    """The reader cannot evaluate this kind of task: the table shows that and never a zero."""


@dataclasses.dataclass(frozen=True)
class DataRoot:
    """The source of labelled data."""

    folder: Path | None = None
    """`--data DIR`, with the layout `NAME/SPLIT.parquet`; None: the hub, through the `hf` extra."""
    limit: int | None = None
    """`--limit N`: at most N examples of each split (the first N after a seeded shuffle)."""
    size: str = "tiny"
    """The size dial, for generated tasks that grow with it."""
    prepared: Path | None = None
    """The prepared corpus, for tasks made from its held-out part; None: not prepared yet."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """The examples of a task. The family cuts `dev` from `train` where a probe needs it."""

    train: pd.DataFrame
    test: pd.DataFrame
    sha256: str
    """Fingerprint of the loaded data: part of the score's key."""
    metric: str | None = None
    """The metric, where only the examples determine it; None: the one that the task declares."""
    chance: float | None = None
    """The chance level on these examples; None: the one that the task declares."""


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of one reader on one task."""

    value: float
    """The headline value, in the task's metric."""
    stderr: float
    """The sampling error of `value` over examples."""
    outcomes: pd.DataFrame
    """A row per test example: `example`, `outcome` (its mean is `value` for accuracies), ..."""
    metrics: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Every metric or policy by name with its (value, stderr), the headline first. If the headline
    has the name of the task's metric, the others are further metrics (f1, accuracy) without a known
    chance level; else all of them are policies of the one metric (pseudo-log-likelihood)."""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON values: chosen layer and pooling, the grid, selectivity, tie rate, buckets."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Frozen features of some texts. N texts, S layers (embeddings first), D width."""

    pooled: Float[np.ndarray, "N S 3 D"]
    """Mean, first and last over a text's tokens, in the order of `POOLINGS`."""
    spans: Float[np.ndarray, "T S 3 D"] | None = None
    """The same over the tokens of each requested word, in the order of the request."""
    truncated: int = 0
    """The number of texts that are cut, because they are longer than all windows together."""


class Reader(Protocol):
    """A finished run as a task may use it."""

    scoring: Literal["masked", "shifted", "causal"] | None
    """The prediction of the objective: hidden tokens (`shifted`: each one position to its left),
    next tokens, or none at all."""
    prepared: Path | None
    """The prepared corpus, from which a contrastive stage takes its pairs; None: not at hand."""

    def features(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None = None
    ) -> Features:
        """Frozen features; `spans` requests words by character range [start, end).

        The arrays are read-only, because an equal call may get them again.
        """
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
        """The log-probability of each candidate, in nats, where `text[start:end]` is hidden.

        Raises:
            NotApplicableError: The objective predicts no tokens.
        """
        ...

    def fill(self, text: str, k: int = 5) -> FillResult:
        """The likeliest tokens at each [MASK] of a text, or after the text for a causal run.

        Raises:
            NotApplicableError: The objective predicts no tokens.
            BenchError: There is no [MASK], or the text is longer than the encoder reads.
        """
        ...

    def joint_nats(self, texts: Sequence[str], spans: Sequence[Span]) -> Float[np.ndarray, "N 3"]:
        """Log p of the tokens of `text[start:end]` hidden at once, and from left to right; number.

        Raises:
            NotApplicableError: The objective predicts no tokens.
        """
        ...

    def mean_states(
        self,
        texts: Sequence[str],
        corruption: Literal["none", "mask", "remove"],
        share: float,
        noise: Noise,
    ) -> Float[np.ndarray, "N S D"]:
        """The mean of each text's tokens where a share of them is replaced by [MASK] or removed."""
        ...

    def copy_for_finetuning(self) -> TrainableEncoder:
        """A copy of the encoder that may be trained; the reader's own encoder does not change."""
        ...

    def reader_of(self, copy: Any) -> Reader:
        """A reader of the features of a copy (from `copy_for_finetuning`) after its training."""
        ...


class TrainableEncoder(Protocol):
    """A copy of an encoder that fine-tuning may change. D width."""

    @property
    def encoder(self) -> torch.nn.Module:
        """The weights to train."""
        ...

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        ...

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """The texts as token rows."""
        ...

    def vectors(
        self, rows: Sequence[Row], spans: Sequence[Sequence[Span]] | None = None
    ) -> Float[torch.Tensor, "T D"]:
        """One vector per text; with `spans`, one per word. Gradients flow into the encoder."""
        ...


class Task(ABC):
    """One downstream task. Subclass a family of `bench.probing.families` instead of this class.

    Examples:
        >>> import bench
        >>> from bench.tasks.agreement import Agreement
        >>> Agreement.family, Agreement.metric, Agreement.chance
        ('minimal pairs', 'accuracy', 0.5)
        >>> issubclass(Agreement, bench.Task)
        True
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    metric: ClassVar[str]
    """The declared metric; `metric_of` gives the metric of loaded examples."""
    family: ClassVar[str]
    chance: ClassVar[float | None]
    """The declared chance level: the highest score, in the metric, of a guess without context, such
    as the share of the most frequent label of the test examples; 0 where a constant answer has no
    correlation or finds no span. None: only the examples determine it (`chance_of`). The baseline
    `majority` answers with the most frequent label of train."""
    size: ClassVar[tuple[int, int] | None] = None
    """The numbers of train and test examples, as published or as generated."""
    is_own: ClassVar[bool] = False
    """Whether the labels are the user's, from `--task KIND:FILE`."""
    is_diagnostic: ClassVar[bool] = False
    """Whether the score describes an encoder and is no quality: it is shown, and never ranked. Its
    details say what it means (`meaning`)."""
    suites: ClassVar[tuple[str, ...]] = ()
    """Names under which `--tasks` selects several tasks at once."""
    probe_settings: Any = None
    """Settings of the family's probe (part of the score's key); None where nothing is fitted."""
    probes: ClassVar[tuple[Probe, ...]] = ()
    """The probes by which it can be evaluated; empty where nothing is fitted."""
    probe: Probe = "linear"
    """The probe in use, one of `probes`; set it before `score`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        refuse_misspelt_methods(cls)

    def probes_among(self, requested: Sequence[Probe]) -> tuple[Probe, ...]:
        """The probes to score with, of those that are requested.

        A task that fits nothing has one score, whatever is requested.
        """
        return tuple(requested) if self.probes else (self.probe,)

    def identity(self) -> dict[str, Any]:
        """The settings and the probe as plain values: part of the score's key."""
        values = {} if self.probe_settings is None else as_mapping(self.probe_settings)
        return values | ({"probe": self.probe} if self.probes else {})

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Change settings of the probe.

        Args:
            settings: Values by owner (`probe`, and `finetune` where the encoder can be fine-tuned)
                and setting. A setting that this task does not have changes nothing.

        Raises:
            BenchError: A value is out of range.
        """
        if self.probe_settings is not None:
            self.probe_settings = changed(self.probe_settings, settings.get("probe", {}), "probe")

    def require(self, data: DataRoot) -> None:  # noqa: B027  # generated data requires nothing
        """Check that the data set is at hand, without loading it.

        Raises:
            BenchError: Where the data set was looked for, and the way out.
        """

    def check(self, splits: Splits) -> None:  # noqa: B027  # a family knows its own columns
        """Refuse unusable examples, before an encoder is trained for them.

        Raises:
            BenchError: A missing column, missing labels, one class, too few rows.
        """

    @abstractmethod
    def load(self, data: DataRoot) -> Splits:
        """Read the examples. It sets nothing on the task: facts about the data go into `Splits`.

        Raises:
            BenchError: The data set is missing or malformed; says where it was looked for.
        """

    @abstractmethod
    def score(self, reader: Reader, splits: Splits, noise: Noise) -> Score:
        """Evaluate the reader; deterministic given its arguments."""

    def baselines(self, splits: Splits, noise: Noise) -> dict[str, Score]:
        """Scores that need no encoder: majority, bag-of-words, window of words."""
        return {}

    def metric_of(self, splits: Splits) -> str:
        """The metric of these examples."""
        return self.metric if splits.metric is None else splits.metric

    def chance_of(self, splits: Splits) -> float | None:
        """The score of guessing on these examples, in their metric; None: unknown."""
        return self.chance if splits.chance is None else splits.chance
