"""For tests of objectives: objectives by name, and rows and draws that are written by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.corpus.microworld import Micro
from bench.pretraining.batch import Batch
from bench.pretraining.noise import Noise
from bench.settings import from_mapping
from bench.spec import EncoderShape
from tests.helpers.registry import REGISTRY

SHAPE = EncoderShape(
    hidden_size=16, num_layers=2, num_heads=2, mlp_size=24, max_length=24, vocab_size=500
)


def write_text(folder: Path) -> None:
    """Write `text.txt`, a small generated corpus for tests of commands."""
    (folder / "text.txt").write_text("\n\n".join(Micro(num_words=20_000).documents()))


def build(name: str, **values: Any) -> Any:
    """An objective by name, with some settings."""
    return from_mapping(REGISTRY.get("objective", name), values, name)


def noise_for(batch: Batch, seed: int = 0, epoch: int = 0) -> Noise:
    """The noise of a run with this seed for these rows."""
    return Noise(seed, epoch, batch.example_ids)


def batch_of(*rows: list[int]) -> Batch:
    """Rows of one-token words; ids below 5 are special, 0 is padding."""
    tokens = torch.tensor(rows)
    real = tokens > 4
    return Batch(
        tokens, real, real, real & False, torch.arange(len(rows)), attention_mask=tokens > 0
    )


def fixed_noise(batch: Batch, **streams: list[list[float]]) -> Noise:
    """Noise with fixed uniform draws, by stream."""

    class FixedNoise(Noise):
        def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
            return torch.tensor(streams[stream]).reshape(shape)

    return FixedNoise(0, 0, batch.example_ids)


@dataclasses.dataclass(frozen=True, eq=False)
class Scripted(Noise):
    """The same fixed draws for every row; beyond them 99 (bits) and 0 (uniform)."""

    draws: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def bits(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return self._fixed(stream, shape, 99).long()

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return self._fixed(stream, shape, 0)

    def uniform_at(self, stream: str, columns: Tensor) -> Tensor:
        return self._fixed(stream, (len(columns), 100), 0).gather(1, columns)

    def _fixed(self, stream: str, shape: tuple[int, ...], default: int) -> Tensor:
        draws = torch.tensor(self.draws.get(stream, []))
        padding = torch.full((max(0, shape[1] - len(draws)),), float(default))
        return torch.cat((draws, padding))[: shape[1]].expand(shape)
