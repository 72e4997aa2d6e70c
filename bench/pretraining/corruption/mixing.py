"""Objectives that consist of other objectives: their notation and their shared batches.

    0.4*span(mean_length=8,rate=0.3) + 0.6*prefix_lm        the weights need not add up to 1

Any installed objective may be named, also one of a third-party plugin, and its settings are
validated as usual.
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
from bench.registry import Registry
from bench.settings import from_mapping

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor

    from bench.pretraining.objective import Objective

_NAMED = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:\(([^()]*)\))?\s*")


def _registry() -> Registry:
    return _registry_of(os.environ.get("BENCH_PLUGINS"))


@functools.cache
def _registry_of(limit: str | None) -> Registry:
    """Cached, because settings are built many times and a registry takes 0.1 s to load."""
    return Registry()


def read_objective(text: str, owner: str) -> Objective:
    """Parse `NAME` or `NAME(SETTING=VALUE,...)` into an objective.

    Args:
        text: The text to parse.
        owner: The setting that has this value, for error messages.

    Raises:
        BenchError: The text has another form, the name or a setting is unknown, or the objective
            trains nothing, adapts to the model or compares rows.
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        raise BenchError(
            f"{owner}: {text!r} is not of the form NAME(SETTING=VALUE,...), for example "
            "span(mean_length=8,rate=0.3)"
        )
    name, values = match[1], {}
    for item in filter(None, map(str.strip, (match[2] or "").split(","))):
        field, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not field or field in values:
            problem = "repeats a setting" if field in values else "is not SETTING=VALUE"
            raise BenchError(f"{owner}: {item!r} in {text.strip()!r} {problem}")
        values[field] = value
    try:
        objective: Objective = from_mapping(_registry().get("objective", name), values, name)
    except BenchError as error:
        raise BenchError(f"{owner}: {error}") from None
    if not objective.trains:
        raise BenchError(
            f"{owner}: {name!r} trains nothing and cannot be a component; use another objective"
        )
    if objective.feedback_steps:
        raise BenchError(
            f"{owner}: {name!r} adapts to the model's errors and cannot be a component, because a "
            "component gets no feedback; run it alone, or use another objective"
        )
    if objective.rows_together > 1:
        raise BenchError(
            f"{owner}: {name!r} compares rows of a step with each other and cannot be a component, "
            "because a component gets some rows only; run it alone, or use another objective"
        )
    return objective


def read_mixture(text: str, owner: str) -> tuple[tuple[float, Objective], ...]:
    """Parse `WEIGHT*OBJECTIVE+...` into pairs of share and objective; the shares add up to 1.

    Args:
        text: The text to parse; a component without a weight has weight 1.
        owner: The setting that has this value, for error messages.

    Raises:
        BenchError: A weight is not a positive number, or `read_objective` fails.
    """
    weighted = []
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
                f"{owner}: the weight of {part.strip()!r} must be a number above 0, "
                f"not {weight.strip()!r}"
            )
        weighted.append((number, read_objective(named, owner)))
    total = sum(weight for weight, _ in weighted)
    return tuple((weight / total, objective) for weight, objective in weighted)


@dataclasses.dataclass(frozen=True, eq=False)
class MixedExample(Example):
    """Rows of several objectives in one shape, plus each objective's example of all rows."""

    examples: tuple[Example, ...] = ()


def merge_rows(examples: Sequence[Example], member: Int[Tensor, " B"]) -> Example:
    """One example whose row b is row b of `examples[member[b]]`, in a shape that never changes.

    Every row has as many slots as the widest example. The attention pattern becomes "prefix", with
    the whole row (full) or nothing (causal) as the prefix, unless all rows have full attention.
    """
    rows, length = examples[0].inputs.shape
    at = torch.arange(length, device=member.device)
    b = torch.arange(rows, device=member.device)
    slots = max(example.labels.shape[1] for example in examples)

    def select(tensors: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(tensors))[member, b]

    def pad(tensor: Tensor, value: int) -> Tensor:
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
        select([e.inputs for e in examples]),
        Attention(
            "full" if is_full else "prefix",
            None if all(one.attention_mask is None for one in patterns) else select(attention_mask),
            None if is_full else select([_prefix(one, rows, length, member) for one in patterns]),
        ),
        select([pad(e.labels, IGNORED) for e in examples]),
        select([pad(where, 0) for where in positions]),
        None if all(e.origins is None for e in examples) else select(origins),
        {"member": member},
    )


def _prefix(attention: Attention, rows: int, length: int, like: Tensor) -> Tensor:
    if attention.prefix_lengths is not None:
        return attention.prefix_lengths
    return like.new_full((rows,), length if attention.pattern == "full" else 0)
