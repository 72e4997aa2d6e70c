"""The sizes of `--size`: encoder shape, hyperparameters, default budget and seeds of each."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.errors import BenchError, unknown_name
from bench.machine import cores
from bench.settings import as_mapping, from_mapping, whole_number
from bench.spec import EncoderShape, Overrides, Training


@dataclasses.dataclass(frozen=True)
class Size:
    """One setting of `--size`: encoder shape, hyperparameters, default budget and seeds."""

    name: str
    summary: str
    encoder: EncoderShape
    training: Training
    budget: str
    """The default budget of a run."""
    seeds: str
    """The default seeds of a comparison."""


def rotary_theta(max_length: int) -> float:
    """The base of the rotary wavelengths for rows of this length.

    ModernBERT's 160,000 for 8,192 positions hardly turns most pairs of a short row's heads: at 64
    positions the loss of `token` after 1M tokens of real text is 5.03 nats with 500 and 5.89 with
    160,000. From 100 to 500 it differs by 0.1 (docs/recipe.md). Measured at 64 positions only.
    """
    return 4.0 * max_length


def learning_rate(hidden_size: int, batch_tokens: int) -> float:
    """The peak learning rate of AdamW: 2e-3 at width 64 and 512 tokens per step.

    It falls with the width and rises with the fourth root of the batch. Measured at `tiny`; at
    `base` the rule gives 8e-4, the rate of ModernBERT-base.
    """
    rate = 2e-3 * 64 / hidden_size * (batch_tokens / 512) ** 0.25
    return float(f"{rate:.2g}")


def _size(
    name: str, summary: str, shape: tuple[int, ...], training: tuple[int, int], budget: str
) -> Size:
    hidden, layers, heads, length, vocab = shape
    batch, threads = training
    return Size(
        name,
        summary,
        EncoderShape(
            hidden_size=hidden,
            num_layers=layers,
            num_heads=heads,
            mlp_size=hidden * 3 // 2,
            max_length=length,
            vocab_size=vocab,
            rotary_theta=rotary_theta(length),
        ),
        Training(learning_rate=learning_rate(hidden, batch), batch_tokens=batch, threads=threads),
        budget,
        "0-2",
    )


SIZES = {
    size.name: size
    for size in (
        # Many small steps: with 4,096 tokens per step a tiny encoder stays on the unigram plateau.
        _size(
            "tiny",
            "64 wide, 3 layers: minutes on a CPU",
            (64, 3, 2, 64, 2048),
            (512, 1),
            "1.6M",
        ),
        _size(
            "mini",
            "128 wide, 4 layers: for a CPU with patience",
            (128, 4, 4, 128, 4096),
            (4096, 2),
            "20M",
        ),
        _size(
            "small",
            "384 wide, 12 layers: for a GPU",
            (384, 12, 6, 256, 16384),
            (65536, 8),
            "1G",
        ),
        _size(
            "base",
            "768 wide, 22 layers: ModernBERT-base's shape",
            (768, 22, 12, 512, 32768),
            (262144, 16),
            "10G",
        ),
    )
}


def size_named(name: str) -> Size:
    """The size of a name.

    Raises:
        BenchError: No such size.
    """
    if name not in SIZES:
        raise unknown_name("size", name, SIZES, "bench list sizes")
    return SIZES[name]


CONTINUED_ROWS = 8
"""Rows of a step that continues a checkpoint; with 512 positions they are 4,096 tokens."""


def continued_size(
    name: str, source: str, shape: EncoderShape, batch_tokens: int | None = None
) -> Size:
    """The size of a checkpoint that is continued.

    The learning rate is that of Gururangan et al. 2020 (table 13, task-adaptive): 1e-4 for RoBERTa,
    768 wide, with 256 rows of 512 tokens. It is scaled to the width and to the batch by the rule of
    `learning_rate`; 768 wide with 4,096 tokens it is 4.2e-5, near the 5e-5 that transformers takes
    for such batches. Warm-up over 6 % of the budget and the linear decay after it are theirs.
    """
    batch = batch_tokens or CONTINUED_ROWS * shape.max_length
    rate = 1e-4 * 768 / shape.hidden_size * (batch / (256 * 512)) ** 0.25
    training = Training(
        learning_rate=float(f"{rate:.2g}"), batch_tokens=batch, warmup=0.06, decay=0.94, threads=2
    )
    return Size(name, f"continues {source}", shape, training, "2M", "0-2")


def _positive(text: str) -> bool:
    return bool(whole_number(text))


def shape_and_training(
    size: Size, overrides: Overrides, vocab_size: int | None
) -> tuple[EncoderShape, Training]:
    """The numbers of a size with the overrides, and threads capped by the available cores.

    Args:
        size: The size.
        overrides: Settings of `encoder` and `training`.
        vocab_size: The preference of the corpus, if it has one; an override takes precedence.

    Raises:
        BenchError: An unknown setting or an impossible value.
    """
    encoder: dict[str, Any] = as_mapping(size.encoder)
    if vocab_size is not None:
        encoder["vocab_size"] = vocab_size
    given = overrides.get("encoder", {})
    encoder |= given
    hidden_size = whole_number(given.get("hidden_size", ""))
    if hidden_size is not None and "mlp_size" not in given:
        encoder["mlp_size"] = hidden_size * 3 // 2
    length = str(given.get("max_length", ""))
    if _positive(length) and "rotary_theta" not in given:
        encoder["rotary_theta"] = rotary_theta(int(length))
    training = as_mapping(size.training) | dict(overrides.get("training", {}))
    width, batch = str(encoder["hidden_size"]), str(training["batch_tokens"])
    if "learning_rate" not in overrides.get("training", {}) and min(map(_positive, (width, batch))):
        training["learning_rate"] = learning_rate(int(width), int(batch))
    if "threads" not in overrides.get("training", {}):
        training["threads"] = min(int(training["threads"]), cores())
    shape = from_mapping(EncoderShape, encoder, "encoder")
    numbers = from_mapping(Training, training, "training")
    if numbers.batch_tokens < shape.max_length:
        raise BenchError(
            f"training.batch_tokens {numbers.batch_tokens} is smaller than one row of "
            f"encoder.max_length {shape.max_length} tokens; raise the one or lower the other"
        )
    return shape, numbers
