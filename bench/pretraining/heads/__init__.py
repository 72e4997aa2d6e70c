"""Heads: what an objective trains beside the encoder, and throws away or keeps.

None of it is read by a probe. Its parameters and FLOPs stand beside the score.
"""

from bench.pretraining.heads.boundary import BoundaryHead, boundary_loss
from bench.pretraining.heads.decoder import Decoder, decoder_loss
from bench.pretraining.heads.generator import Generator, GeneratorAndDetector
from bench.pretraining.heads.token import TokenHead, at_positions, token_loss, token_nats

__all__ = [
    "BoundaryHead",
    "Decoder",
    "Generator",
    "GeneratorAndDetector",
    "TokenHead",
    "at_positions",
    "boundary_loss",
    "decoder_loss",
    "token_loss",
    "token_nats",
]
