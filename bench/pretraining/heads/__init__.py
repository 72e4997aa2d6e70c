"""Heads: what an objective trains beside the encoder, and throws away or keeps.

None of it is read by a probe. Its parameters and FLOPs stand beside the score.
"""

from bench.pretraining.heads.decoder import Decoder, decoder_loss
from bench.pretraining.heads.generator import Generator, GeneratorAndDetector
from bench.pretraining.heads.token import TokenHead, at_positions, token_loss

__all__ = [
    "Decoder",
    "Generator",
    "GeneratorAndDetector",
    "TokenHead",
    "at_positions",
    "decoder_loss",
    "token_loss",
]
