"""An estimate of the memory of a training step, from which the first micro-batch is chosen.

Halving after the memory was exhausted finds a size that fits as well, but every try costs a
compilation and leaves a fragmented pool. The estimate is that of the tensors that the backward pass
keeps without compiling, which keeps fewer; a test counts them. If it is too low, halving remains.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from bench.pretraining.encoder.blocks import MIN_LENGTH
from bench.pretraining.heads.linear_nats import CHUNK_LOGITS
from bench.pretraining.ledger import encoder_parameters, encoder_row_flops

if TYPE_CHECKING:
    from bench.pretraining.batch import Example
    from bench.pretraining.ledger import Cost
    from bench.spec import EncoderShape

PARAMETER_BYTES = 18
"""Weight, gradient and two moments in float32, and a copy in bfloat16."""
LOGIT_BYTES = 10
"""In bfloat16, in float32, and its gradient."""
FILLED = 0.8
"""Share of the free memory that the estimate may fill; the rest is for what it leaves out."""


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """The memory of a training step in bytes, as a function of the rows of a micro-batch.

    Args:
        shape: The shape of the encoder.
        cost: What the objective adds.
        slots: Predicted positions of a row.
        is_masked: Attention needs a mask: a prefix, padding or documents.
    """

    shape: EncoderShape
    cost: Cost
    slots: int
    is_masked: bool

    @classmethod
    def of(cls, shape: EncoderShape, cost: Cost, example: Example) -> StepMemory:
        """The memory of rows like those of an example."""
        attention = example.attention
        given = (attention.attention_mask, attention.prefix_lengths, attention.documents)
        is_masked = any(one is not None for one in given)
        return cls(shape, cost, example.labels.shape[1], is_masked)

    @property
    def fixed(self) -> float:
        """Weights and the state of the optimizer."""
        return float(PARAMETER_BYTES) * (encoder_parameters(self.shape) + self.cost.parameters)

    def per_row(self, length: int) -> float:
        """Everything that grows with the rows, of one row."""
        shape, cost = self.shape, self.cost
        layer = 26.0 * shape.hidden_size + 8.0 * shape.mlp_size
        passes = cost.encoder_passes + cost.flops_per_position * length / encoder_row_flops(
            shape, length
        )
        states = length * passes * shape.num_layers * layer
        mask = 3.0 * length**2 if self.is_masked and length < MIN_LENGTH else 0.0
        return states + mask

    def logits(self, rows: int) -> float:
        """The logits of the predicted positions, as many as exist at once."""
        count = min(rows * self.slots * self.shape.vocab_size, CHUNK_LOGITS)
        return float(LOGIT_BYTES * count)

    def total(self, rows: int, length: int) -> float:
        """Bytes of a step with micro-batches of so many rows."""
        return self.fixed + rows * self.per_row(length) + self.logits(rows)

    def micro_batches(self, rows: int, length: int, free: float, at_least: int, most: int) -> int:
        """The number of micro-batches: doubled until the estimate fits.

        Args:
            rows: Rows of a step.
            length: Positions of a row.
            free: Bytes of the device that nobody uses.
            at_least: The number to start with: that of the ranks.
            most: The number of parts of a step that cannot be divided further.
        """
        count = at_least
        while count * 2 <= most and self.total(-(-rows // count), length) > FILLED * free:
            count *= 2
        return count
