"""Objectives made of objectives: how they are named in text, and how their rows share a batch.

    0.4*span(mean_length=8,rate=0.3) + 0.6*prefix_lm        weights need not add up to 1

Any installed objective may be named, a stranger's too, and its settings are checked as always.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from bench.errors import BenchError
from bench.pretraining.batch import IGNORED, Attention, Example
from bench.pretraining.objective import Objective
from bench.registry import Registry
from bench.settings import from_mapping

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from bench.pretraining.noise import Noise

_NAMED = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\(([^()]*)\))?\s*")


def _registry() -> Registry:
    return _registry_of(os.environ.get("BENCH_PLUGINS"))


@functools.cache
def _registry_of(limit: str | None) -> Registry:
    """Loaded once: settings are built many times over, and a registry takes a tenth of a second."""
    return Registry()


def read_objective(text: str, owner: str) -> Objective:
    """The objective of `NAME` or `NAME(SETTING=VALUE,...)`.

    Args:
        text: As above.
        owner: The setting it is the value of, for messages.

    Raises:
        BenchError: Not of that form; an unknown name or setting; an objective that trains nothing.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        raise BenchError(
            f"{owner}: {text!r} names no objective; write span(mean_length=8,rate=0.3)"
        )
    name, values = match[1], {}
    for item in filter(None, map(str.strip, (match[2] or "").split(","))):
        field, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not field or field in values:
            problem = "is given twice" if field in values else "is not SETTING=VALUE"
            raise BenchError(f"{owner}: {item!r} in {text.strip()!r} {problem}")
        values[field] = value
    try:
        found: Objective = from_mapping(_registry().get("objective", name), values, name)
    except BenchError as error:
        raise BenchError(f"{owner}: {error}") from None
    if not found.trains:
        raise BenchError(f"{owner}: {name!r} trains nothing and cannot be part of anything")
    return found


def read_mixture(text: str, owner: str) -> tuple[tuple[float, Objective], ...]:
    """Shares, which add up to 1, and objectives of `WEIGHT*OBJECTIVE+...` (no weight: 1).

    Args:
        text: As above.
        owner: The setting it is the value of, for messages.

    Raises:
        BenchError: Not of that form, or as `read_objective`.
    """
    found = []
    for part in re.split(r"\+(?![^()]*\))", text):
        weight, star, named = part.partition("*")
        if not star or "(" in weight:
            weight, named = "1", part
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise BenchError(
                f"{owner}: weight {weight.strip()!r} of {part.strip()!r} is not above 0"
            )
        found.append((number, read_objective(named, owner)))
    total = sum(weight for weight, _ in found)
    return tuple((weight / total, objective) for weight, objective in found)


def has_own_head(objective: Objective) -> bool:
    """Whether it trains more than the ordinary token head with its loss, which can be shared.

    An objective that overrides those methods but not always may say so by this name.
    """
    says = getattr(objective, "has_own_head", None)
    if says is not None:
        return bool(says)
    methods = ("head", "loss", "extra_cost")
    return any(getattr(type(objective), m) is not getattr(Objective, m) for m in methods)


@dataclasses.dataclass(frozen=True, eq=False)
class Composed(Example):
    """Rows of several objectives in one shape, and each objective's example of all rows."""

    examples: tuple[Example, ...] = ()


def merge_rows(examples: Sequence[Example], member: Int[Tensor, " B"]) -> Example:
    """One example whose row b is row b of `examples[member[b]]`, in a shape that never changes.

    Every row gets as many slots as the widest example has, and attention becomes a prefix of the
    whole row (full) or of nothing (causal), unless all rows are read in full.
    """
    rows, length = examples[0].inputs.shape
    at = torch.arange(length, device=member.device)
    b = torch.arange(rows, device=member.device)
    slots = max(example.labels.shape[1] for example in examples)

    def chosen(tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(tensors))[member, b]

    def padded(tensor: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, slots - tensor.shape[1]), value=value)

    positions = [at.expand(rows, -1) if e.positions is None else e.positions for e in examples]
    positions = [
        where[:, : e.labels.shape[1]] for where, e in zip(positions, examples, strict=True)
    ]
    origins = [at.expand(rows, -1) if e.origins is None else e.origins for e in examples]
    patterns = [e.attention for e in examples]
    everywhere = torch.ones(rows, length, dtype=torch.bool, device=member.device)
    attention_mask = [
        everywhere if one.attention_mask is None else one.attention_mask for one in patterns
    ]
    is_full = all(one.pattern == "full" for one in patterns)
    return Example(
        chosen([e.inputs for e in examples]),
        Attention(
            "full" if is_full else "prefix",
            None if all(one.attention_mask is None for one in patterns) else chosen(attention_mask),
            None if is_full else chosen([_prefix(one, rows, length, member) for one in patterns]),
        ),
        chosen([padded(e.labels, IGNORED) for e in examples]),
        chosen([padded(where, 0) for where in positions]),
        None if all(e.origins is None for e in examples) else chosen(origins),
        {"member": member},
    )


def _prefix(attention: Attention, rows: int, length: int, like: Tensor) -> Tensor:
    if attention.prefix_lengths is not None:
        return attention.prefix_lengths
    return like.new_full((rows,), length if attention.pattern == "full" else 0)


def example_rows(example: Example, rows: Int[Tensor, " R"]) -> Example:
    """Some rows of an example, as an example."""

    def taken(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[rows]

    attention = example.attention
    return Example(
        example.inputs[rows],
        Attention(
            attention.pattern, taken(attention.attention_mask), taken(attention.prefix_lengths)
        ),
        example.labels[rows],
        taken(example.positions),
        taken(example.origins),
        {name: tensor[rows] for name, tensor in example.extras.items()},
    )


def noise_rows(noise: Noise, rows: Int[Tensor, " R"]) -> Noise:
    """The noise of some rows."""
    epoch = noise.epoch if isinstance(noise.epoch, int) else noise.epoch[rows]
    return dataclasses.replace(noise, epoch=epoch, example_ids=noise.example_ids[rows])
