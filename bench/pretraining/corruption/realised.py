"""A check before training: does the objective ask for the share of tokens that it names?

The corruption of a sample of rows is counted, without the encoder. A script without spaces, a
tokenizer that does not know the text or very short rows can all make an objective ask for much less
than its `rate`, and the run would then answer another question than it seems to. The same sample
shows the share of unknown tokens, which no objective hides or predicts.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import FailedError
from bench.pretraining.batch import IGNORED
from bench.pretraining.rates import rate_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from bench.corpus.preparation import PreparedCorpus
    from bench.pretraining.batch import Batch, Example
    from bench.pretraining.batch_reader import BatchReader
    from bench.pretraining.objective import Objective

SAMPLE_TOKENS = 8192
FAR_OFF = 0.2
"""A realised rate that differs from the nominal one by a larger share of it gets a warning."""
MANY_UNKNOWN = 0.05
"""A larger share of unknown tokens gets a warning."""


@dataclasses.dataclass(frozen=True)
class RealisedRate:
    """The share of the ordinary tokens that an objective asks for, in a sample."""

    objective: str
    nominal: float | None
    """The `rate` at the same point of the budget; None without one, or if all is predicted."""
    realised: float
    """Predicted tokens by ordinary tokens."""
    unknown: float
    """Unknown tokens by all tokens of the training part but separators."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for the record."""
        return dataclasses.asdict(self)

    @property
    def label(self) -> str:
        """The sample in one line."""
        nominal = "" if self.nominal is None else f" (nominal {self.nominal:.1%})"
        return (
            f"{self.objective} asks for {self.realised:.1%} of the tokens{nominal}; "
            f"{self.unknown:.1%} of the tokens are unknown"
        )

    def warnings(self) -> list[str]:
        """Reasons to doubt that the run answers the question of its settings."""
        sentences = []
        if self.nominal and abs(self.realised - self.nominal) > FAR_OFF * self.nominal:
            sentences.append(
                f"{self.objective} asks for {self.realised:.1%} of the tokens, and its rate says "
                f"{self.nominal:.1%}: its units do not fit the quota of a row; raise "
                "--set encoder.max_length=, or choose other --words"
            )
        if self.unknown > MANY_UNKNOWN:
            sentences.append(
                f"{self.unknown:.1%} of the tokens are unknown to the tokenizer and never "
                "predicted; choose another --tokenizer"
            )
        return sentences


def realised_rates(
    objective: Objective, corpus: PreparedCorpus, reader: BatchReader, seed: int
) -> list[RealisedRate]:
    """The rates of an objective, or of each of its ingredients, in the first training rows.

    Raises:
        FailedError: An objective that trains asks for nothing, at either end of the budget.
    """
    if not objective.trains:
        return []
    unknown = unknown_share(corpus)
    rates = [
        [
            _rate(one, corpus, reader, seed, own, progress, unknown)
            for one, own in _parts(objective, reader.statistics)
        ]
        for progress in (0.0, 1.0)
    ]
    at_both_ends = [rate for at_end in rates for rate in at_end]
    if not any(rate.realised for rate in at_both_ends) and any(
        rate.nominal is not None or unknown == 1.0 for rate in at_both_ends
    ):
        raise FailedError(
            f"{objective.display_name} asks for nothing: none of the sampled tokens is predicted, "
            f"and {unknown:.1%} of the tokens are unknown to the tokenizer; raise its rate or "
            "--set encoder.max_length=, or choose another --tokenizer or --words"
        )
    return rates[0]


def unknown_share(corpus: PreparedCorpus) -> float:
    """The share of unknown tokens in the training part, separators left aside."""
    vocabulary, counts = corpus.tokenizer.vocabulary, corpus.train.counts
    text = int(counts.sum()) - int(counts[vocabulary.sep_id])
    is_separator = vocabulary.unk_id == vocabulary.sep_id
    return 0.0 if is_separator or not text else int(counts[vocabulary.unk_id]) / text


def _parts(
    objective: Objective, statistics: Mapping[str, Tensor]
) -> Iterator[tuple[Objective, Mapping[str, Tensor]]]:
    """An objective without ingredients, or all ingredients, each with its statistics."""
    ingredients = objective.ingredients()
    for i, one in enumerate(ingredients):
        prefix = f"{i}."
        own = {
            name.removeprefix(prefix): table
            for name, table in statistics.items()
            if name.startswith(prefix)
        }
        yield from _parts(one, own or statistics)
    if not ingredients:
        yield objective, statistics


def _rate(
    objective: Objective,
    corpus: PreparedCorpus,
    reader: BatchReader,
    seed: int,
    statistics: Mapping[str, Tensor],
    progress: float,
    unknown: float,
) -> RealisedRate:
    from bench.pretraining.noise import Noise  # it needs torch, which a table does not

    rows = min(corpus.train.num_rows(reader.length), max(1, SAMPLE_TOKENS // reader.length))
    batch = reader.read(corpus.train, np.arange(rows), progress)
    batch = dataclasses.replace(batch, statistics=statistics)
    example = objective.corrupt(batch, reader.vocabulary, Noise(seed, 0, batch.example_ids))
    predicted, real = _counts(batch, example, reader.vocabulary.size)
    nominal: float | None = None
    if predicted < real and (rate := getattr(objective, "rate", None)) is not None:
        nominal = rate_at(rate, progress)
    return RealisedRate(objective.display_name, nominal, predicted / max(real, 1), unknown)


def _counts(batch: Batch, example: Example, vocabulary_size: int) -> tuple[int, int]:
    """Predicted and ordinary tokens of the rows whose attention is not causal, if there are any."""
    labels = example.labels
    is_asked = (labels != IGNORED) & (labels < vocabulary_size)
    real = batch.real
    prefix = example.attention.prefix_lengths
    if prefix is not None and bool((prefix > 0).any()):  # a causal row predicts all its tokens
        is_asked, real = is_asked[prefix > 0], real[prefix > 0]
    return int(is_asked.sum()), int(real.sum())
