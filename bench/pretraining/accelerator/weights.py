"""How the weights of a run lie on its ranks: as a rule, every rank has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.pretraining.tensors import load_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.ranks import Ranks


class Weights:
    """The parameters of encoder and head, whole on every rank.

    Args:
        encoder: The encoder of the run.
        head: Its head.
        ranks: The processes that share the run.
    """

    saved_bytes = 0.0
    """Memory of a step that other ranks have, and not this one."""

    def __init__(self, encoder: SharedEncoder, head: nn.Module, ranks: Ranks) -> None:
        self.encoder, self.head, self.ranks = encoder, head, ranks
        self.parameters: dict[str, nn.Parameter] = {
            **{f"encoder.{name}": p for name, p in encoder.named_parameters()},
            **{f"head.{name}": p for name, p in head.named_parameters()},
        }

    def joined(self, loss: Tensor) -> Tensor:
        """The loss of a micro-batch, once all ranks have made as many passes for theirs."""
        return loss

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the loss of a micro-batch."""
        loss.backward()  # type: ignore[no-untyped-call]

    def report(self, shortage: torch.OutOfMemoryError) -> None:
        """Tell the other ranks that the memory is exhausted, where they would wait otherwise."""

    def add_gradients(self) -> None:
        """Replace the gradients of each rank by their sum."""
        self.ranks.add_gradients(list(self.parameters.values()))

    def norm(self) -> Tensor:
        """The norm of the whole gradient."""
        return torch.nn.utils.get_total_norm(gradients_of(self.parameters.values()))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The whole weights of encoder and head; all ranks must ask, and the first gets them."""
        return {"encoder": self.encoder.state_dict(), "head": self.head.state_dict()}

    def load(self, parts: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        """Set the weights of encoder and head.

        Raises:
            RefusedError: They do not fit.
        """
        load_weights(self.encoder, parts["encoder"], path)
        load_weights(self.head, parts["head"], path)

    def whole(self, name: str, own: Tensor) -> Tensor:
        """The parts of the ranks of a tensor that belongs to a parameter; as `state`."""
        return own

    def own(self, name: str, whole: Tensor) -> Tensor:
        """The part of this rank of a tensor that belongs to a parameter."""
        return whole

    def shape(self, name: str) -> torch.Size:
        """The whole shape of a parameter."""
        return self.parameters[name].shape


def gradients_of(parameters: object) -> list[Tensor]:
    """The gradients of those that have one."""
    return [p.grad for p in parameters if p.grad is not None]  # type: ignore[attr-defined]
