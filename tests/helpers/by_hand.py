"""What tests of objectives are made of: objectives by name, rows and draws written by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.corpus.microworld import Micro
from bench.pretraining.batch import Batch
from bench.pretraining.noise import Noise
from bench.registry import Registry
from bench.settings import from_mapping
from bench.spec import EncoderShape

REGISTRY = Registry()
SHAPE = EncoderShape(
    hidden_size=16, num_layers=2, num_heads=2, mlp_size=24, max_length=24, vocab_size=500
)


def write_text(folder: Path) -> None:
    """`text.txt`: a few thousand generated words, the corpus of commands that are tried out."""
    (folder / "text.txt").write_text("\n\n".join(Micro(num_words=20_000).documents()))


def build(name: str, **values: Any) -> Any:
    """An objective with some settings."""
    return from_mapping(REGISTRY.get("objective", name), values, name)


def noise_for(batch: Batch, seed: int = 0, epoch: int = 0) -> Noise:
    """The noise that a run of this seed has for these rows."""
    return Noise(seed, epoch, batch.example_ids)


def batch_of(*rows: list[int]) -> Batch:
    """Rows of one-token words; ids below 5 are special, 0 is padding."""
    tokens = torch.tensor(rows)
    real = tokens > 4
    return Batch(
        tokens, real, real, real & False, torch.arange(len(rows)), attention_mask=tokens > 0
    )


def drawn(batch: Batch, **streams: list[list[float]]) -> Noise:
    """Noise whose uniform draws are given."""

    class Drawn(Noise):
        def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
            return torch.tensor(streams[stream]).reshape(shape)

    return Drawn(0, 0, batch.example_ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Scripted(Noise):
    """The same draws for every row; 99 (bits) and 0 (uniform) where the script is silent."""

    draws: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def bits(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return self._given(stream, shape, 99).long()

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return self._given(stream, shape, 0)

    def uniform_at(self, stream: str, columns: Tensor) -> Tensor:
        return self._given(stream, (len(columns), 100), 0).gather(1, columns)

    def _given(self, stream: str, shape: tuple[int, ...], silent: int) -> Tensor:
        given = torch.tensor(self.draws.get(stream, []))
        padding = torch.full((max(0, shape[1] - len(given)),), float(silent))
        return torch.cat((given, padding))[: shape[1]].expand(shape)
