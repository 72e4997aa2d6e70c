"""The span boundary objective: a hidden token is predicted from the two tokens around its run.

    He  saw  [MASK] [MASK] [MASK]  in  town       the run is 2..4, its neighbours are 1 and 5
             token 3 = f(feature of `saw`, feature of `in`, second of the run)

f consists of two layers of GELU and norm over the two features and an embedding of the place in the
run, followed by the tied embedding (Joshi et al. 2020, sec. 3.2). This head is added to the token
head and does not change it, so a run scores sentences like any masked model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.corruption.spans import run_edges
from bench.pretraining.encoder import norm
from bench.pretraining.heads.token import TokenHead, at_positions

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from bench.pretraining.encoder import SharedEncoder
    from bench.spec import EncoderShape


class BoundaryHead(TokenHead):
    """The token head, plus a second head that reads only the two neighbours of a run."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(shape)
        width = shape.hidden_size
        self.place_embeddings = nn.Embedding(shape.max_length, width)
        self.first = nn.Linear(3 * width, width, bias=False)
        self.first_norm = norm(width)
        self.second = nn.Linear(width, width, bias=False)
        self.second_norm = norm(width)
        self.boundary_bias = nn.Parameter(torch.zeros(shape.vocab_size))

    def from_boundary(
        self,
        left: Float[Tensor, "*N D"],
        right: Float[Tensor, "*N D"],
        place: Int[Tensor, "*N"],
        embedding: Float[Tensor, "V D"],
    ) -> Float[Tensor, "*N V"]:
        """Logits over the vocabulary.

        Args:
            left: The feature before the run.
            right: The feature after the run.
            place: The index of the token in the run, from 0.
            embedding: The encoder's token embedding.
        """
        features = torch.cat((left, right, self.place_embeddings(place)), dim=-1)
        inner = self.first_norm(F.gelu(self.first(features)))
        outer = self.second_norm(F.gelu(self.second(inner)))
        return F.linear(outer, embedding, self.boundary_bias)


def boundary_loss(encoder: SharedEncoder, head: nn.Module, example: Example) -> Loss:
    """Token loss plus boundary loss, each summed over the same predicted tokens."""
    assert isinstance(head, BoundaryHead)
    assert example.positions is not None  # masked objectives gather the predicted positions
    hidden = encoder(example.inputs, example.attention)
    embedding = encoder.token_table
    labels = example.labels.flatten()
    before, after, place = boundaries(example.positions, example.labels, hidden.shape[1])
    own = at_positions(hidden, example).flatten(0, 1)
    left, right = (
        hidden.gather(1, at[:, :, None].expand(-1, -1, hidden.shape[2])).flatten(0, 1)
        for at in (before, after)
    )
    predictions = (labels != IGNORED).sum()
    logits_of = {
        "token": head(own, embedding),
        "boundary": head.from_boundary(left, right, place.flatten(), embedding),
    }
    parts = {
        name: F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
        for name, logits in logits_of.items()
    }
    return Loss(
        parts["token"] + parts["boundary"],
        predictions,
        parts={name: (total, predictions) for name, total in parts.items()},
    )


def boundaries(
    positions: Int[Tensor, "B K"], labels: Int[Tensor, "B K"], length: int
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"], Int[Tensor, "B K"]]:
    """For each predicted token: the position before its run, the one after it, its place in it.

    At the edges of a row a neighbour is missing, and the run's own first or last token replaces it.
    """
    slots = torch.where(labels == IGNORED, length, positions)
    chosen = torch.zeros(len(labels), length + 1, dtype=torch.bool, device=labels.device)
    first, last = (
        edge.gather(1, positions) for edge in run_edges(chosen.scatter_(1, slots, True)[:, :length])
    )
    place = (positions - first).clamp(min=0)  # unused slots have position 0 and no label
    return (first - 1).clamp(min=0), (last + 1).clamp(max=length - 1), place
