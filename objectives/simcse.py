"""Contrastive learning with dropout (SimCSE): two passes of a row agree more than two rows do.

    the old gate near the wall    -> a       two passes of each row; dropout drops other outputs
    the old gate near the wall    -> a'      in each of them
    a fox jumps over the dog      -> b
    a fox jumps over the dog      -> b'

    cosines / 0.05     a'     b'             for each row a softmax over the rows of its group;
    a                [18.0]   4.1            the label is the other pass of the same row
    b                  3.9  [17.2]

Nothing is hidden, and no token is predicted: one prediction is made for each row. The vector of a
row is that of [CLS] (`pooling=mean`: the mean over its tokens), followed by a dense layer with tanh
that is discarded after pretraining.

Negatives are the other rows of a group of `group_rows` rows. A group never crosses a micro-batch or
a step, so where memory is short the micro-batch cannot be smaller than a group, and a step with
fewer rows than `group_rows` is one smaller group. The default is the paper's batch for BERT-base;
size `tiny` has 8 rows in a step, and hence 7 negatives.

Dropout has a setting of its own here, because the loss is meaningless without it. It is a function
of the run's noise, so a resumed run is equal to the bit, and the validation loss has it too.
`training.dropout` has no effect on this objective.

Differs: the paper continues BERT or RoBERTa (`--init`); from nothing the loss teaches an encoder to
distinguish rows and little about words. Its unit is a sentence, and the unit here is the row:
`max_length` positions of packed text. Dropout applies to the outputs of embeddings, attentions and
MLPs and not to the weights of the attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bench.pretraining.batch import Attention, Batch, Example, Loss
from bench.pretraining.objective import Cost, Objective
from bench.settings import PositiveFloat, settings

if TYPE_CHECKING:
    from torch import nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


@settings
class SimCse(Objective):
    """Recognise a row among others by two passes with dropout."""

    name: ClassVar[str] = "simcse"
    summary: ClassVar[str] = "recognise each row among others after two passes with dropout"
    source: ClassVar[str] = "Gao et al. 2021, sec. 3"
    other_predictions: ClassVar[str] = "the row itself among the rows of its group"

    dropout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of the encoder's outputs that are dropped, other ones in each pass."""
    temperature: PositiveFloat = 0.05
    """Divisor of the cosines."""
    pooling: Literal["first", "mean"] = "first"
    """The vector of a row: `first`, the feature of [CLS]; `mean`, the mean over its tokens."""
    group_rows: Annotated[int, Field(ge=2)] = 64
    """Rows that are compared with each other; the other rows of a group are a row's negatives."""

    @property
    def rows_together(self) -> int:
        return self.group_rows

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        return Example(
            batch.tokens,
            Attention("full", batch.attention_mask),
            batch.tokens[:, :0],  # no token is predicted
            extras={"has_text": batch.real.any(1)},
        )

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        from bench.pretraining.heads import ProjectionHead

        return ProjectionHead(shape)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import contrastive_loss, pooled

        mask = example.attention.attention_mask
        with encoder.dropout(self.dropout, noise):
            first, second = (
                head(pooled(encoder(example.inputs, example.attention), mask, self.pooling))
                for _ in range(2)
            )
        nats, is_predicted = contrastive_loss(
            first, second, example.extras["has_text"], self.temperature, self.group_rows
        )
        rows = len(nats)
        size = min(self.group_rows, rows)
        slots = float(-(-rows // size) * size * size)  # cosines that are computed
        return Loss(nats.sum(), is_predicted.sum(), slots=slots)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        """Cost of the second pass, the projections (for rows of `max_length`) and the cosines."""
        width = shape.hidden_size
        return Cost(
            flops_per_prediction=2.0 * width,
            flops_per_position=2 * 2.0 * width * width / shape.max_length,
            parameters=width * width + width,
            encoder_passes=2,
        )
