"""Replaced-token detection (ELECTRA): a generator replaces tokens, the encoder detects them.

    the    chef   cooked  the    meal      original
    [MASK] chef   [MASK]  the    meal      generator input; it samples "the", "ate"
    the    chef   ate     the    meal      encoder input
    0      0      1       0      0         labels of all tokens; a correct sample counts as original

The loss is the generator's loss (a masked language model a quarter as wide) plus 50 times the
detection loss. Each is a mean over its own tokens. The masked loss of a row is therefore weighted
by the number of the row's tokens, so that the sum does not depend on how a batch is split.

Differs: positions are drawn without replacement, exactly 15 % (the release draws with replacement
and realises 13.8 %). `mask_fraction` is the release's 0.85, with the rest shown unchanged (1.0 in
the paper's text). The width of the generator is reduced by whole attention heads. Special tokens
are never drawn.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from bench.pretraining.batch import IGNORED, Batch, Example, Loss
from bench.pretraining.ledger import encoder_parameters, encoder_row_flops
from bench.pretraining.objective import Cost, Scoring, UnitObjective, write_tokens
from bench.settings import Fraction, PositiveFloat, settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


@settings
class ReplacedToken(UnitObjective):
    """Detect the tokens that a generator replaced."""

    name: ClassVar[str] = "replaced_token"
    summary: ClassVar[str] = "detect the tokens that a small generator replaced"
    source: ClassVar[str] = "Clark et al. 2020, sec. 2"
    scoring: ClassVar[Scoring | None] = None

    mask_fraction: Fraction = 0.85
    """Share of the chosen tokens that the generator reads as [MASK]; 1.0 in the paper's text."""
    random_fraction: Fraction = 0.0
    """Share of the chosen tokens that the generator reads as a random ordinary token."""
    generator_width: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Width of the generator as a share of the encoder's, in whole heads if it has one or more."""
    detection_weight: PositiveFloat = 50.0
    """Weight of the detection loss; the generator's loss has weight 1."""

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        return batch.real

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        example = super().corrupt(batch, vocabulary, noise)
        return dataclasses.replace(example, extras={"text": batch.tokens, "real": batch.real})

    def generator_shape(self, shape: EncoderShape) -> EncoderShape:
        """Shape of the generator: the encoder's depth, with fewer heads or one narrower head."""
        heads = max(1, int(shape.num_heads * self.generator_width + 0.5))
        narrow = max(8, 2 * round(shape.hidden_size * self.generator_width / 2))
        width = heads * min(shape.hidden_size // shape.num_heads, narrow)
        return dataclasses.replace(
            shape,
            num_heads=heads,
            hidden_size=width,
            mlp_size=max(1, shape.mlp_size * width // shape.hidden_size),
        )

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        from bench.pretraining.heads import GeneratorAndDetector

        return GeneratorAndDetector(shape, self.generator_shape(shape), vocabulary)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import GeneratorAndDetector

        assert isinstance(head, GeneratorAndDetector)
        assert example.positions is not None
        text, real, labels = example.extras["text"], example.extras["real"], example.labels
        logits = head.generator(encoder, example.inputs, example.attention, example.positions)
        uniform = self.settled(noise).uniform_at("sample", example.positions)
        sampled = head.generator.sample(logits, uniform)
        shown = write_tokens(text, example.positions, sampled, labels)
        odds = head.detect(encoder(shown, example.attention))
        tokens = real.sum(1)
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        nats = nats.view(labels.shape).sum(1)
        masked = (nats / (labels != IGNORED).sum(1).clamp(min=1) * tokens).sum()
        detected = torch.nn.functional.binary_cross_entropy_with_logits(
            odds.float(), (shown != text).float(), weight=real.float(), reduction="sum"
        )
        parts = {
            "generator": (nats.sum(), (labels != IGNORED).sum()),
            "detection": (detected, tokens.sum()),
        }
        return Loss(masked + self.detection_weight * detected, tokens.sum(), parts=parts)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """Cost of generator and detector, exact for rows of `max_length` positions only."""
        generator_shape = self.generator_shape(shape)
        width, length = shape.hidden_size, shape.max_length
        vocab_size, narrow = shape.vocab_size, generator_shape.hidden_size
        detector = width * width + width
        return Cost(
            flops_per_prediction=2.0 * width * (narrow + vocab_size),
            flops_per_position=encoder_row_flops(generator_shape, length) / length
            + 2.0 * (width * narrow + detector),
            # The generator has no token embedding of its own: it shares the encoder's.
            parameters=encoder_parameters(generator_shape)
            - vocab_size * narrow
            + 2 * width * narrow
            + width
            + vocab_size
            + detector
            + 1,
        )
