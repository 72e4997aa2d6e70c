"""Corrupt a few rows to show and many rows for the statistics, as a run would corrupt them.

The objective collects its statistics over the training part, as before a run, and rows are packed
as in training. Some objectives fill in their input while they compute the loss, such as with
samples of a generator. So the loss of each shown row is computed once, with an untrained encoder of
one layer, and the input of this encoder is shown too.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from bench.errors import BenchError
from bench.pretraining.encoder import Encoder
from bench.pretraining.encoder.initial_weights import initialise
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Objective
from bench.showing import batches
from bench.showing.corruption_statistics import CorruptionStatistics, corruption_statistics
from bench.showing.trace import Trace, trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.tokenizer import TextTokenizer, Vocabulary
    from bench.pretraining.batch import Batch, Example
    from bench.spec import EncoderShape


@dataclasses.dataclass(frozen=True)
class ShowOptions:
    """The text to show, and the state of the training."""

    text: str | None = None
    """A text to corrupt; None for rows of the corpus."""
    rows: int = 2
    """Number of rows of the corpus, or number of epochs for which the text is shown."""
    sample_rows: int = 512
    """Maximum number of rows for the statistics."""
    seed: int = 0
    progress: float = 0.0
    """Share of the budget spent, from 0 to 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class DemonstrationRow:
    """One row with its trace."""

    title: str
    trace: Trace
    filled: Trace | None
    """The trace with the input of the encoder, if it differs from the output of `corrupt`."""

    def is_same_as(self, other: DemonstrationRow) -> bool:
        """Whether both have the same text and the same corruption."""
        return all(
            np.array_equal(getattr(self.trace, name), getattr(other.trace, name))
            for name in ("tokens", "inputs", "origins", "labels", "targets")
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Demonstration:
    """The content of `bench show`."""

    objective: Objective
    options: ShowOptions
    tokenizer: TextTokenizer
    rows: list[DemonstrationRow]
    statistics: CorruptionStatistics
    sample: str
    """Description of the rows of the statistics."""
    notes: list[str]


def select_objective(objectives: Mapping[str, Objective], text: str) -> Objective:
    """The one objective of an experiment, which also has the untrained baseline.

    Args:
        objectives: The objectives by display name.
        text: The objective as the user typed it, for the message.

    Raises:
        BenchError: There are several objectives.
    """
    trained = [objective for objective in objectives.values() if objective.trains]
    candidates = trained or [*objectives.values()]
    if len(candidates) != 1:
        raise BenchError(
            f"bench show takes one objective, got {text!r}, which is {len(candidates)} "
            "objectives; give one name"
        )
    return candidates[0]


def show(
    objective: Objective, prepared: PreparedCorpus, shape: EncoderShape, options: ShowOptions
) -> Demonstration:
    """Corrupt some rows to show, and many rows for the statistics.

    Args:
        objective: The objective with its settings.
        prepared: The corpus of the statistics, with its tokenizer.
        shape: The shape of the encoder. Its length is the length of the corpus' rows.
        options: The text to show, and the state of the training.

    Raises:
        BenchError: The text has no tokens or is not UTF-8.
    """
    tokenizer, vocabulary = prepared.tokenizer, prepared.tokenizer.vocabulary
    length = shape.max_length
    shape = dataclasses.replace(shape, num_layers=1, vocab_size=vocabulary.size)
    store, part = prepared.train, f"the only part of {prepared.name}"
    if prepared.heldout is not None:
        store, part = prepared.heldout, f"the held-out part of {prepared.name}"
    sample = batches.of_store(store, options.sample_rows, length, tokenizer)
    shown, titles, epochs, notes = _shown_rows(options, sample, part, length, prepared)
    statistics = batches.collect_statistics(objective, prepared, length)
    shown, sample = (
        dataclasses.replace(batch, statistics=statistics, progress=options.progress)
        for batch in (shown, sample)
    )
    maker = _RowMaker(objective, shape, vocabulary, options.seed)
    rows = []
    for index, (title, epoch) in enumerate(zip(titles, epochs, strict=True)):
        noise = Noise(options.seed, epoch, shown.example_ids[index : index + 1])
        rows.append(maker.row(batches.select(shown, [index]), noise, title))
    noise = Noise(options.seed, 0, sample.example_ids)
    of_sample = trace(sample, objective.corrupt(sample, vocabulary, noise), vocabulary)
    counts = corruption_statistics(of_sample, objective, options.progress)
    about = f"{counts.rows} rows of {part} ({counts.tokens:,} ordinary tokens)"
    return Demonstration(objective, options, tokenizer, rows, counts, about, notes)


def _shown_rows(
    options: ShowOptions, sample: Batch, part: str, length: int, prepared: PreparedCorpus
) -> tuple[Batch, list[str], list[int], list[str]]:
    """The rows to show, their titles, their epochs, and notes."""
    if options.text is None:
        rows = batches.select(sample, range(min(options.rows, len(sample.tokens))))
        titles = [f"row {i} of {part}" for i in rows.example_ids.tolist()]
        return rows, titles, [0] * len(titles), []
    rows, is_cut = batches.of_text(options.text, options.rows, length, prepared)
    epochs = list(range(options.rows))
    notes = [f"the text is cut to the {length} positions of the encoder"] if is_cut else []
    return rows, [f"your text, epoch {epoch}" for epoch in epochs], epochs, notes


class _RowMaker:
    """Makes rows, with the input that the objective's own loss fills in, if it has one."""

    def __init__(
        self, objective: Objective, shape: EncoderShape, vocabulary: Vocabulary, seed: int
    ) -> None:
        self._objective, self._vocabulary = objective, vocabulary
        self._modules: tuple[Encoder, nn.Module] | None = None
        if type(objective).loss is not Objective.loss:
            with torch.random.fork_rng(devices=[]):
                head = objective.head(shape, vocabulary)
            initialise(head, seed, "head")
            self._modules = Encoder(shape, seed), head

    def row(self, batch: Batch, noise: Noise, title: str) -> DemonstrationRow:
        """Corrupt a batch of one row, and trace the input of the encoder."""
        example = self._objective.corrupt(batch, self._vocabulary, noise)
        inputs = self._encoder_inputs(example, noise)
        filled = None
        if inputs is not None and not torch.equal(inputs, example.inputs):
            filled = trace(batch, dataclasses.replace(example, inputs=inputs), self._vocabulary)
        return DemonstrationRow(title, trace(batch, example, self._vocabulary), filled)

    @torch.no_grad()
    def _encoder_inputs(self, example: Example, noise: Noise) -> Tensor | None:
        """The last tokens that the loss passes to the encoder, in the shape of the example."""
        if self._modules is None:
            return None
        encoder, head = self._modules
        inputs: list[Tensor] = []

        def record(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            inputs.append(kwargs["tokens"] if "tokens" in kwargs else args[0])

        hook = encoder.register_forward_pre_hook(record, with_kwargs=True)
        self._objective.loss(encoder, head, example, noise)
        hook.remove()
        return next((t for t in reversed(inputs) if t.shape == example.inputs.shape), None)
