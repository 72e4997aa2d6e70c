"""Corrupt a few rows to be looked at and many to be counted, as a run would meet them.

The objective mines the training part as it would before a run, and rows are packed as the reader
packs them. Some objectives fill in their input while they compute the loss (a generator's samples):
so each shown row's loss is computed once, by an untrained encoder of one layer, and what reached it
is shown too.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.corpus.tokenizer import sentence_starts
from bench.errors import BenchError
from bench.pretraining.batch import Batch
from bench.pretraining.encoder import Encoder, initialise
from bench.pretraining.loop import STATISTICS_TOKENS
from bench.pretraining.noise import Noise
from bench.pretraining.objective import Objective
from bench.showing.figures import Figures, figures
from bench.showing.trace import Trace, trace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from bench.corpus.preparation import PreparedCorpus
    from bench.corpus.store import TokenStore
    from bench.corpus.tokenizer import TextTokenizer, Vocabulary
    from bench.pretraining.batch import Example
    from bench.spec import EncoderShape


@dataclasses.dataclass(frozen=True)
class Look:
    """What of an objective is looked at."""

    text: str | None = None
    """A sentence; None: rows of the corpus."""
    rows: int = 2
    """Rows of the corpus, or readings of the sentence: a reading an epoch."""
    sample: int = 512
    """Rows that the figures are counted over, at most."""
    seed: int = 0
    progress: float = 0.0
    """Share of the budget spent."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShownRow:
    """One row as it is shown: a trace of one row."""

    title: str
    trace: Trace
    filled: Trace | None
    """With what really reached the encoder, where that is not what `corrupt` gave."""

    def is_like(self, other: ShownRow) -> bool:
        """Whether both show one text, treated alike."""
        return all(
            np.array_equal(getattr(self.trace, name), getattr(other.trace, name))
            for name in ("tokens", "inputs", "origins", "labels", "targets")
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Everything that `bench show` says."""

    objective: Objective
    look: Look
    tokenizer: TextTokenizer
    rows: list[ShownRow]
    figures: Figures
    sample: str
    """What the figures are counted over, in words."""
    notes: list[str]


def named(objectives: Mapping[str, Objective], asked: str) -> Objective:
    """The one objective that was asked for.

    Raises:
        BenchError: Several were.
    """
    name = asked.replace("-", "_")
    if name not in objectives:
        raise BenchError(f"show looks at one objective at a time, got {asked!r}; name one of them")
    return objectives[name]


def show(objective: Objective, prepared: PreparedCorpus, shape: EncoderShape, look: Look) -> Shown:
    """Corrupt some rows and count over many.

    Args:
        objective: With its settings.
        prepared: The corpus that the figures are counted over, with its tokenizer.
        shape: The encoder's; its length is that of the corpus' rows.
        look: What is looked at.

    Raises:
        BenchError: The text has no tokens.
    """
    tokenizer, length = prepared.tokenizer, shape.max_length
    shape = dataclasses.replace(shape, num_layers=1, vocab_size=tokenizer.vocabulary.size)
    store, part = (prepared.train, "the only part")
    if prepared.heldout is not None:
        store, part = prepared.heldout, "the held-out part"
    notes: list[str] = []
    sample = _from_store(store, _spread(store.num_rows(length), look.sample), length, tokenizer)
    if look.text is None:
        shown = _part(sample, range(min(look.rows, len(sample.tokens))))
        titles = [f"row {i} of {part} of {prepared.name}" for i in shown.example_ids.tolist()]
        epochs = [0] * len(titles)
    else:
        shown, is_cut = _from_text(look.text, look.rows, length, tokenizer)
        titles = [f"your text, epoch {epoch}" for epoch in range(look.rows)]
        epochs = list(range(look.rows))
        notes += [f"the text is cut to the encoder's {length} positions"] if is_cut else []
    state = {
        "statistics": _collect_statistics(objective, prepared, length),
        "progress": look.progress,
    }
    shown, sample = (dataclasses.replace(batch, **state) for batch in (shown, sample))  # type: ignore[arg-type]
    filling = _Filling(objective, shape, tokenizer.vocabulary, look.seed)
    rows = []
    for row, title in enumerate(titles):
        noise = Noise(look.seed, epochs[row], shown.example_ids[row : row + 1])
        rows.append(filling.show(_part(shown, [row]), noise, title))
    noise = Noise(look.seed, 0, sample.example_ids)
    counted = trace(
        sample, objective.corrupt(sample, tokenizer.vocabulary, noise), tokenizer.vocabulary
    )
    found = figures(counted, objective, look.progress)
    where = f"{found.rows} rows of {part} of {prepared.name} ({found.tokens:,} ordinary tokens)"
    return Shown(objective, look, tokenizer, rows, found, where, notes)


class _Filling:
    """Shows rows, with what the objective's own loss fills in where it has one."""

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

    def show(self, batch: Batch, noise: Noise, title: str) -> ShownRow:
        """Corrupt a batch of one row, and look at what reaches the encoder."""
        example = self._objective.corrupt(batch, self._vocabulary, noise)
        fed = self._fed(example, noise)
        filled = None
        if fed is not None and not torch.equal(fed, example.inputs):
            filled = trace(batch, dataclasses.replace(example, inputs=fed), self._vocabulary)
        return ShownRow(title, trace(batch, example, self._vocabulary), filled)

    @torch.no_grad()
    def _fed(self, example: Example, noise: Noise) -> Tensor | None:
        """The last tokens that the loss gave the encoder, in the example's shape."""
        if self._modules is None:
            return None
        encoder, head = self._modules
        fed: list[Tensor] = []

        def record(_: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            fed.append(named["tokens"] if "tokens" in named else given[0])

        hook = encoder.register_forward_pre_hook(record, with_kwargs=True)
        self._objective.loss(encoder, head, example, noise)
        hook.remove()
        return next((t for t in reversed(fed) if t.shape == example.inputs.shape), None)


def _from_store(store: TokenStore, ids: np.ndarray, length: int, tokenizer: TextTokenizer) -> Batch:
    vocabulary = tokenizer.vocabulary
    found = store.rows(ids, length, vocabulary.cls_id, vocabulary.pad_id)
    return Batch(
        tokens=torch.from_numpy(found.tokens),
        real=torch.from_numpy(found.real),
        word_start=torch.from_numpy(found.word_start),
        sentence_start=torch.from_numpy(found.sentence_start),
        example_ids=torch.from_numpy(ids),
        attention_mask=None
        if found.attention_mask is None
        else torch.from_numpy(found.attention_mask),
    )


def _from_text(text: str, rows: int, length: int, tokenizer: TextTokenizer) -> tuple[Batch, bool]:
    """A sentence as a row, [CLS] tokens [SEP], several times; and whether it had to be cut."""
    vocabulary = tokenizer.vocabulary
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BenchError(f"TEXT {text!r} is not UTF-8, as this terminal's locale has it") from None
    (encoded,) = tokenizer.encode([text])
    if not len(encoded.ids):
        raise BenchError(f"TEXT {text!r} has no tokens, so there is nothing to corrupt")
    ids = encoded.ids[: length - 2].astype(np.int64)
    real = ~np.isin(ids, vocabulary.special_ids)
    after_gap = np.append(True, ~real[:-1])
    beginnings = np.searchsorted(encoded.ends, sentence_starts(text), side="right")
    sentences = np.isin(np.arange(len(ids)), beginnings)
    tokens = np.concatenate(([vocabulary.cls_id], ids, [vocabulary.sep_id]))

    def repeated(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).expand(rows, -1).contiguous()

    batch = Batch(
        tokens=repeated(tokens),
        real=repeated(np.pad(real, 1)),
        word_start=repeated(np.pad((encoded.word_start[: len(ids)] | after_gap) & real, 1)),
        sentence_start=repeated(np.pad(sentences & real, 1)),
        example_ids=torch.zeros(rows, dtype=torch.long),
    )
    return batch, len(encoded.ids) > len(ids)


def _collect_statistics(
    objective: Objective, prepared: PreparedCorpus, length: int
) -> dict[str, Tensor]:
    """What the objective needs to know of the training part, as before a run."""
    store = prepared.train
    step = max(1, STATISTICS_TOKENS // length // 64)
    last = min(store.num_rows(length), max(1, STATISTICS_TOKENS // length))

    def batches() -> Iterator[Batch]:
        for low in range(0, last, step):
            ids = np.arange(low, min(low + step, last))
            yield _from_store(store, ids, length, prepared.tokenizer)

    return objective.collect_statistics(batches(), prepared.tokenizer.vocabulary)


def _spread(num_rows: int, wanted: int) -> np.ndarray:
    """Rows from all over the text: neighbours are of one document."""
    return np.unique(np.linspace(0, num_rows - 1, min(wanted, num_rows)).astype(np.int64))


def _part(batch: Batch, rows: range | list[int]) -> Batch:
    index = torch.tensor(list(rows))
    tensors: dict[str, Any] = {
        name: value[index] for name, value in vars(batch).items() if torch.is_tensor(value)
    }
    return dataclasses.replace(batch, **tensors)
