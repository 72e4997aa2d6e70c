"""The contrastive loss between two vectors of each row: which of the others is of the same row?

    group of 3 rows       vector of a'   b'     c'      similarities; each row of the table is a
    vector of a                 [.9]    .2     .1       softmax over the rows of the group, and
              b                  .1    [.8]    .3       its label is on the diagonal
              c                  .2     .1    [.9]

The rows of a step are cut into groups of a fixed size, and negatives come from the own group only.
The loss therefore does not depend on the number of micro-batches, which consist of whole groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from bench.spec import EncoderShape


class ProjectionHead(nn.Module):
    """A dense layer and tanh over the vector of a row (Gao et al. 2021, sec. 6.3)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, vector: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return torch.tanh(self.dense(vector))


def contrastive_loss(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    has_text: Bool[Tensor, " B"],
    temperature: float,
    group_rows: int,
) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """The cross-entropy of each row in nats, and which rows have one.

    Args:
        first: A vector for each row.
        second: Another vector for each row, with which the first one is to agree.
        has_text: False for rows without a token: they are nobody's negatives and have no loss.
        temperature: Divisor of the cosines.
        group_rows: Number of rows of a group; the last one may be smaller.
    """
    rows = len(first)
    size = min(group_rows, rows)
    missing = -rows % size
    one, other = (
        F.pad(F.normalize(v.float(), dim=1), (0, 0, 0, missing)).view(-1, size, v.shape[1])
        for v in (first, second)
    )
    is_candidate = F.pad(has_text, (0, missing)).view(-1, size)
    diagonal = torch.eye(size, dtype=torch.bool, device=first.device)
    allowed = is_candidate[:, None, :] | diagonal
    with torch.autocast(first.device.type, enabled=False):  # cosines / 0.05 need float32
        logits = one @ other.transpose(1, 2) / temperature
    logits = logits.masked_fill(~allowed, float("-inf"))
    labels = torch.arange(size, device=first.device).expand(len(logits), -1)
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    is_predicted = is_candidate & (is_candidate.sum(1, keepdim=True) > 1)
    is_predicted = is_predicted.flatten()[:rows]
    return nats[:rows] * is_predicted, is_predicted
