"""Heads: modules that an objective trains beside the encoder.

No probe reads them. A head that predicts tokens is saved with the encoder; the others are discarded
after pretraining. Their parameters and FLOPs are reported beside the score.
"""

from bench.pretraining.heads.boundary import BoundaryHead, boundary_loss
from bench.pretraining.heads.contrast import ProjectionHead, contrastive_loss
from bench.pretraining.heads.decoder import Decoder, decoder_loss
from bench.pretraining.heads.enhanced import EnhancedDecoder, enhanced_loss
from bench.pretraining.heads.generator import Generator, GeneratorAndDetector
from bench.pretraining.heads.pooling import Pooling, pooled
from bench.pretraining.heads.token import (
    TokenHead,
    at_positions,
    counted_token_loss,
    token_loss,
    token_nats,
)

__all__ = [
    "BoundaryHead",
    "Decoder",
    "EnhancedDecoder",
    "Generator",
    "GeneratorAndDetector",
    "Pooling",
    "ProjectionHead",
    "TokenHead",
    "at_positions",
    "boundary_loss",
    "contrastive_loss",
    "counted_token_loss",
    "decoder_loss",
    "enhanced_loss",
    "pooled",
    "token_loss",
    "token_nats",
]
