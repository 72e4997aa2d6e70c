"""The encoder of a run: the contract of every encoder, and bench's own."""

from bench.pretraining.encoder.layers import (
    NORM_EPSILON,
    Embeddings,
    GatedMLP,
    Layer,
    Rotary,
    SelfAttention,
    norm,
    rotary_tables,
    rotate,
)
from bench.pretraining.encoder.modern import Encoder
from bench.pretraining.encoder.shared import Mask, SharedEncoder

__all__ = [
    "NORM_EPSILON",
    "Embeddings",
    "Encoder",
    "GatedMLP",
    "Layer",
    "Mask",
    "Rotary",
    "SelfAttention",
    "SharedEncoder",
    "norm",
    "rotary_tables",
    "rotate",
]
