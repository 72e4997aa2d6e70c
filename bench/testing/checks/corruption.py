"""Checks of `corrupt`: shapes and ranges, special tokens, and labels.

The vocabulary has its special tokens at arbitrary ids, so that no id can be guessed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from bench.pretraining.batch import IGNORED, Batch, Example
from bench.testing.checks.trial import (
    LENGTH,
    ROWS,
    VOCABULARY,
    Trial,
    corrupt_rows,
    first,
    origins_of,
    predictions_of,
    progress_values,
    sample_rows,
    spot_of,
    tensors_of,
)
from bench.testing.findings import Inapplicable, demand, place

if TYPE_CHECKING:
    from torch import Tensor

    from bench.pretraining.objective import Objective


PATTERNS = ("full", "causal", "prefix")


def check_shapes(objective: Objective) -> None:
    """Shapes, dtypes and ranges follow the contract."""
    where = place(objective, "corrupt")
    for progress in progress_values(objective):
        batch = sample_rows(objective, progress)
        example = corrupt_rows(objective, batch)
        tensors = tensors_of(example)
        for name, (kind, shape) in _expected(example).items():
            if name not in tensors:
                continue
            tensor = tensors[name]
            seen = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
            fits = tensor.dtype == kind and tensor.shape == shape
            expected = f"{str(kind).removeprefix('torch.')}{list(shape)}"
            demand(fits, f"{name} to be {expected}", seen, where)
        rows, length = example.inputs.shape
        seen = f"{rows} rows of {length}"
        fits = rows == ROWS and length <= LENGTH
        demand(fits, f"inputs of {ROWS} rows of at most {LENGTH}", seen, where)
        for name, low, high in (
            ("inputs", 0, None),
            ("positions", 0, length),
            ("origins", -1, LENGTH),
            ("attention.prefix_lengths", 0, length + 1),
        ):
            _demand_range(name, tensors.get(name), low, high, where)
        label_ids = tensors["labels"][tensors["labels"] != IGNORED]
        _demand_range("labels", label_ids, 0, None, where)
        pattern = example.attention.pattern
        demand(pattern in PATTERNS, f"an attention pattern of {PATTERNS}", repr(pattern), where)
        has_lengths = example.attention.prefix_lengths is not None
        fits = has_lengths == (pattern == "prefix")
        demand(fits, "prefix_lengths where the pattern is 'prefix'", repr(pattern), where)


def check_fixed_shapes(objective: Objective) -> None:
    """Shapes do not depend on the text, and on progress only at the two ends of the budget.

    A GPU compiles for each new shape, and the loop warms up at the two ends alone.
    """
    rows = [sample_rows(objective, seed=seed) for seed in (0, 1)]
    rows.append(_mostly_padding(rows[0]))
    known: dict[float, dict[str, tuple[int, ...]]] = {}
    for progress in (0.0, 1.0, 0.25, 0.5, 0.75):
        for batch in rows:
            tensors = tensors_of(
                corrupt_rows(objective, dataclasses.replace(batch, progress=progress))
            )
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            if progress in (0.0, 1.0):
                known.setdefault(progress, shapes)
            allowed = [known[progress]] if progress in known else list(known.values())
            demand(
                shapes in allowed,
                f"the shapes {allowed[0]} in every batch",
                f"{_unlike(shapes, allowed[0])} in other rows at {progress:.0%} of the budget",
                place(objective, "corrupt"),
            )


def check_special_tokens(objective: Objective) -> None:
    """Special tokens and padding keep their places, and no special token is drawn."""
    where = place(objective, "corrupt")
    for progress in progress_values(objective):
        for seed in (0, 1):
            batch = sample_rows(objective, progress, seed)
            trial = Trial(objective)
            example, _ = trial.loss(batch, seed)
            shown = [one.tokens for one in trial.calls if one.tokens.shape == example.inputs.shape]
            for tokens in (example.inputs, *shown):
                _check_shown(batch, example, tokens, where)
            _check_attention(batch, example, where)


def check_labels(objective: Objective) -> None:
    """The labels of a token head are ordinary tokens of the text, at their positions."""
    if objective.scoring is None:
        raise Inapplicable(
            "the objective scores no sentences, so the kit cannot interpret its labels"
        )
    where, num_predictions = place(objective, "corrupt"), 0
    for progress in progress_values(objective):
        batch = sample_rows(objective, progress)
        example = corrupt_rows(objective, batch)
        rows, at, labels = predictions_of(example)
        num_predictions += len(labels)
        is_own = labels >= VOCABULARY.size
        special = VOCABULARY.is_special(labels.clamp(max=VOCABULARY.size - 1)) & ~is_own
        seen = f"the special token {first(labels[special])} as a label"
        demand(not special.any(), "labels to be ordinary tokens", seen, where)
        origin = origins_of(example)[rows, at]
        here = batch.tokens[rows, origin.clamp(min=0)]
        following = batch.tokens[rows, (origin + 1).clamp(max=LENGTH - 1)]
        wrong = ((labels != here) & (labels != following)).nonzero()[:, 0]
        spot = f"position {first(at[wrong])} of row {first(rows[wrong])}"
        seen = (
            f"the label {first(labels[wrong])} at {spot}, where the text has {first(here[wrong])}"
        )
        demand(not len(wrong), "labels to be the text's token, or the one after it", seen, where)
    demand(num_predictions > 0 or not objective.trains, "at least one label", "none", where)


def _expected(example: Example) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Dtype and shape of each tensor, given the widths of inputs and labels."""
    inputs = torch.Size((ROWS, example.inputs.shape[-1]))
    labels = torch.Size((ROWS, example.labels.shape[-1]))
    return {
        "inputs": (torch.int64, inputs),
        "labels": (torch.int64, labels),
        "positions": (torch.int64, labels),
        "origins": (torch.int64, inputs),
        "attention.attention_mask": (torch.bool, inputs),
        "attention.prefix_lengths": (torch.int64, torch.Size((ROWS,))),
    }


def _demand_range(
    name: str, tensor: Tensor | None, low: int, upper: int | None, where: str
) -> None:
    if tensor is None or not tensor.numel():
        return
    least, most = int(tensor.min()), int(tensor.max())
    fits = least >= low and (upper is None or most < upper)
    end = "up" if upper is None else f"below {upper}"
    demand(fits, f"{name} from {low} {end}", f"{least} to {most}", where)


def _mostly_padding(batch: Batch) -> Batch:
    """The same rows cut after three positions."""
    is_before_cut = torch.arange(batch.tokens.shape[1]) < 3
    return dataclasses.replace(
        batch,
        tokens=torch.where(is_before_cut, batch.tokens, VOCABULARY.pad_id),
        real=batch.real & is_before_cut,
        word_start=batch.word_start & is_before_cut,
        sentence_start=batch.sentence_start & is_before_cut,
        attention_mask=is_before_cut.expand_as(batch.real).contiguous(),
    )


def _unlike(shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> str:
    pairs = {
        name: (shapes.get(name), expected.get(name)) for name in shapes.keys() | expected.keys()
    }
    return ", ".join(
        f"{name} {one}" for name, (one, other) in sorted(pairs.items()) if one != other
    )


def _check_shown(batch: Batch, example: Example, tokens: Tensor, where: str) -> None:
    """Each input is the token of the text, or replaces an ordinary token of the text."""
    origins = origins_of(example)
    at = origins.clamp(min=0)
    own, real = batch.tokens.gather(1, at), batch.real.gather(1, at)
    is_own = (tokens == own) & (origins >= 0)
    is_added = tokens >= VOCABULARY.size  # a row of the head's own embeddings
    is_ordinary = ~VOCABULARY.is_special(tokens.clamp(max=VOCABULARY.size - 1))
    stands_in = is_added | is_ordinary | (tokens == VOCABULARY.mask_id)
    attention_mask = example.attention.attention_mask
    is_padding = torch.zeros_like(real) if attention_mask is None else ~attention_mask
    replaced = (origins >= 0) & ~real & ~is_own
    spot = spot_of(replaced)
    seen = f"id {first(tokens[replaced])} for the special token {first(own[replaced])} at {spot}"
    demand(not replaced.any(), "special tokens and padding to stay unchanged", seen, where)
    alien = ~is_own & ~stands_in & ~(is_padding & (tokens == VOCABULARY.pad_id))
    seen = f"the special token {first(tokens[alien])} at {spot_of(alien)}"
    demand(
        not alien.any(),
        "a replacement to be [MASK], an ordinary token or one of the head's own",
        seen,
        where,
    )


def _check_attention(batch: Batch, example: Example, where: str) -> None:
    """Attention excludes padding, and no special token is lost."""
    origins, attention_mask = origins_of(example), example.attention.attention_mask
    existing = torch.ones_like(batch.real) if batch.attention_mask is None else batch.attention_mask
    exists = existing.gather(1, origins.clamp(min=0)) | (origins < 0)
    visible = torch.ones_like(exists) if attention_mask is None else attention_mask
    seen = f"attention to the padding at {spot_of(visible & ~exists)}"
    demand(
        not (visible & ~exists).any(), "attention.attention_mask to exclude padding", seen, where
    )
    place_of = torch.where((origins >= 0) & visible, origins, LENGTH)
    times = torch.zeros(ROWS, LENGTH + 1, dtype=torch.long)
    times = times.scatter_add(1, place_of, torch.ones_like(place_of))[:, :LENGTH]
    lost = existing & ~batch.real & (times != 1)
    seen = f"that of {spot_of(lost)} {first(times[lost])} times"
    demand(
        not lost.any(), "every special token of the text exactly once in the inputs", seen, where
    )
