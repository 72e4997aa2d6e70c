"""The vector of a whole row, for objectives that train one.

The names are those of the probes (`bench.probing`): `first` is the feature of [CLS], with which
every row begins, and `mean` is the mean over all tokens that are not padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

Pooling = Literal["first", "mean"]


def pooled(
    hidden: Float[Tensor, "B L D"],
    attention_mask: Bool[Tensor, "B L"] | None,
    pooling: Pooling,
) -> Float[Tensor, "B D"]:
    """One vector for each row.

    Args:
        hidden: The encoder's output.
        attention_mask: True at tokens, False at padding; None: everywhere a token.
        pooling: `first` or `mean`.
    """
    if pooling == "first":
        return hidden[:, 0]
    if attention_mask is None:
        return hidden.mean(1)
    is_token = attention_mask[:, :, None].to(hidden.dtype)
    return (hidden * is_token).sum(1) / is_token.sum(1).clamp(min=1)
