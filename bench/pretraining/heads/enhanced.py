"""Enhanced decoding (RetroMAE): each token from the row's vector and from its own visible set.

    queries   [CLS] + p1   [CLS] + p2   [CLS] + p3        the row's vector and a position
    keys      [CLS]        t1           t2          t3    the row's vector and the tokens
    query 1   sees [CLS]                t2                never t1, which it predicts
    query 2   sees [CLS]   t1                       t3
    query 3   sees [CLS]                t2

It is one layer with the parts of the encoder (rotary positions, GeGLU, pre-norm). All tokens are
predicted in one pass, because each query has its own mask. The token head is shared with the masked
loss of the encoder, so a run scores sentences like any masked model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.pretraining.batch import IGNORED, Example, Loss
from bench.pretraining.encoder import GatedMLP, norm, rotary_tables
from bench.pretraining.encoder.layers import rotate
from bench.pretraining.heads.token import TokenHead, at_positions

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from bench.pretraining.encoder import SharedEncoder
    from bench.spec import EncoderShape


class EnhancedDecoder(nn.Module):
    """The token head of the encoder, and a layer that reads the row's vector and visible tokens."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.num_heads = shape.num_heads
        self.token = TokenHead(shape)
        self.position_embeddings = nn.Embedding(shape.max_length, width)
        self.query_norm, self.key_norm = norm(width), norm(width)
        self.Wq = nn.Linear(width, width, bias=False)
        self.Wkv = nn.Linear(width, 2 * width, bias=False)
        self.Wo = nn.Linear(width, width, bias=False)
        self.mlp_norm, self.mlp = norm(width), GatedMLP(shape)
        self.final_norm = norm(width)
        cosine, sine = rotary_tables(shape.max_length, width // shape.num_heads, shape.rotary_theta)
        self.cosine: Tensor
        self.sine: Tensor
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(
        self, hidden: Float[Tensor, "*N D"], embedding: Float[Tensor, "V D"]
    ) -> Float[Tensor, "*N V"]:
        """Logits of the token head, over features of the encoder or of `decode`."""
        return self.token(hidden, embedding)  # type: ignore[no-any-return]

    def decode(
        self,
        vector: Float[Tensor, "B D"],
        embedded: Float[Tensor, "B L D"],
        visible: Bool[Tensor, "B L L"],
    ) -> Float[Tensor, "B L D"]:
        """A feature for each position, from which its token is predicted.

        Args:
            vector: The vector of each row.
            embedded: The embedded tokens of the row. The first one is replaced by the vector.
            visible: Whether the query at the second index sees the token at the third. The diagonal
                and the first column have no effect: no query sees its own token, and every query
                sees the vector.
        """
        rows, length, width = embedded.shape
        at = torch.arange(length, device=embedded.device)
        queries = vector[:, None] + self.position_embeddings(at)
        keys = torch.cat((vector[:, None], embedded[:, 1:]), dim=1)
        allowed = (visible & (at[:, None] != at)) | (at == 0)
        size = width // self.num_heads
        rotary = (self.cosine[:length], self.sine[:length])
        query = self.Wq(self.query_norm(queries)).view(rows, length, self.num_heads, size)
        both = self.Wkv(self.key_norm(keys)).view(rows, length, 2, self.num_heads, size)
        key, value = both.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            rotate(query.transpose(1, 2), rotary),
            rotate(key, rotary),
            value,
            attn_mask=allowed[:, None],
        )
        x = queries + self.Wo(mixed.transpose(1, 2).reshape(rows, length, width))
        return self.final_norm(x + self.mlp(self.mlp_norm(x)))  # type: ignore[no-any-return]


def enhanced_loss(
    encoder: SharedEncoder,
    head: nn.Module,
    example: Example,
    visible: Bool[Tensor, "B L L"],
) -> Loss:
    """The masked loss of the encoder plus the loss of the decoder, each a mean over its tokens.

    The masked loss of a row is weighted by the number of the row's tokens, so that the sum does not
    depend on how a batch is split.

    Args:
        encoder: The shared encoder.
        head: The enhanced decoder.
        example: The masked rows; `extras` has the uncorrupted `text` and `real`.
        visible: The visible set of each position.
    """
    assert isinstance(head, EnhancedDecoder)
    text, real, labels = example.extras["text"], example.extras["real"], example.labels
    table = encoder.token_table
    hidden = encoder(example.inputs, example.attention)
    logits = head(at_positions(hidden, example).flatten(0, 1), table)
    nats = F.cross_entropy(logits.float(), labels.flatten(), ignore_index=IGNORED, reduction="none")
    nats = nats.view(labels.shape).sum(1)
    num_masked, tokens = (labels != IGNORED).sum(1), real.sum(1)
    masked = (nats / num_masked.clamp(min=1) * tokens).sum()
    decoded = head(head.decode(hidden[:, 0], encoder.embed(text), visible).flatten(0, 1), table)
    targets = torch.where(real, text, IGNORED).flatten()
    written = F.cross_entropy(decoded.float(), targets, ignore_index=IGNORED, reduction="sum")
    parts = {
        "encoder": (nats.sum(), num_masked.sum()),
        "decoder": (written, tokens.sum()),
    }
    return Loss(masked + written, tokens.sum(), parts=parts)
