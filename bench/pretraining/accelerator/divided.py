"""The layers of the encoder divided among the ranks of a run (`--shard`), by FSDP2.

Each rank has a part of every layer: of its weights, their gradient and the state of the optimizer.
A layer is whole while it computes, in the forward and again in the backward pass, and its gradients
are added part by part after each micro-batch. The token table, the norms beside the layers and the
head stay whole on every rank, because heads read them as they like, and in a size that does not fit
they are small.

Every pass through the layers is an exchange, so all ranks must make the same passes. Objectives do
not promise that: a mixture passes the rows of each component, and a rank may have none. So ranks
agree before each pass and at the end of each loss, and a rank without a pass of its own makes one
over a single position, without effect. The backward pass follows, because autograd undoes passes in
the reverse order of their creation, and every pass belongs to the loss, if only with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.errors import FailedError
from bench.pretraining.accelerator.memory import PARAMETER_BYTES
from bench.pretraining.accelerator.weights import Weights, gradients_of
from bench.pretraining.batch import Attention
from bench.pretraining.tensors import refuse_unlike

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.pretraining.encoder import SharedEncoder
    from bench.pretraining.ranks import Ranks

_PASS, _PASS_WITHOUT_GRADIENT, _END, _SHORT = "pass", "pass without gradient", "end", "short"


class ShortElsewhereError(torch.OutOfMemoryError):
    """The memory of another rank is exhausted."""


class DividedWeights(Weights):
    """The parameters of a run, those of the encoder's layers divided among the ranks.

    `parameters` are plain tensors: a divided one shares its memory with the part that FSDP2 keeps.

    Args:
        encoder: The encoder of the run, whole; changed in place.
        head: Its head.
        ranks: The processes that share the run.
        device: Where the weights go.
    """

    def __init__(
        self, encoder: SharedEncoder, head: nn.Module, ranks: Ranks, device: torch.device
    ) -> None:
        layers = layers_of(encoder)
        _divide(layers, ranks.size, device)
        super().__init__(encoder, head, ranks)
        self._device = device
        self._divided: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if hasattr(parameter, "to_local"):
                self._divided[name] = parameter
                self.parameters[name] = nn.Parameter(parameter.to_local().detach())
        missing = sum(p.numel() - self.parameters[n].numel() for n, p in self._divided.items())
        self.saved_bytes = float(PARAMETER_BYTES * missing)
        self._outputs: list[Tensor] = []  # of the passes since the last loss
        self._is_exchanging = self._is_empty_pass = False
        layers[0].register_forward_pre_hook(self._before, prepend=True)
        layers[-1].register_forward_hook(self._after)

    def _before(self, _: nn.Module, __: Any) -> None:
        """Wait until it is the turn of a pass of this kind."""
        if not self._is_empty_pass:
            self._await(_PASS if torch.is_grad_enabled() else _PASS_WITHOUT_GRADIENT)
        self._is_exchanging = True

    def _after(self, _: nn.Module, __: Any, output: Any) -> None:
        self._is_exchanging = False
        state: Tensor = output[0] if isinstance(output, tuple) else output
        if state.requires_grad:
            self._outputs.append(state)

    def _await(self, wish: str) -> None:
        """Take part in the passes of other ranks until all do what this one wishes.

        Raises:
            ShortElsewhereError: The memory of one of them is exhausted.
        """
        while (turn := self._turn(wish)) != wish:
            self._pass_nothing(has_gradient=turn == _PASS)

    def _turn(self, wish: str) -> str:
        """The next action of all ranks: a pass, as long as one of them has one to make."""
        wishes = self.ranks.gather(wish)
        if _SHORT in wishes:
            raise ShortElsewhereError("the memory of another rank is exhausted")
        return next((one for one in wishes if one != _END), _END)

    def _pass_nothing(self, has_gradient: bool) -> None:
        """Pass a single position through the layers, for the sake of the exchange."""
        read_before = self.encoder.tokens_read
        token = torch.zeros((1, 1), dtype=torch.int64, device=self._device)
        self._is_empty_pass = True
        with torch.set_grad_enabled(has_gradient), self.encoder.dropout(0.0, None):  # type: ignore[arg-type]
            self.encoder(token, Attention("full"))
        self._is_empty_pass = False
        self.encoder.uncount(read_before)

    def joined(self, loss: Tensor) -> Tensor:
        self._await(_END)
        outputs, self._outputs = self._outputs, []
        return _Joined.apply(loss, *outputs) if loss.requires_grad else loss  # type: ignore[no-untyped-call]

    def backward(self, loss: Tensor) -> None:
        self._is_exchanging = True
        super().backward(loss)
        self._is_exchanging = False

    def report(self, shortage: torch.OutOfMemoryError) -> None:
        """Tell the other ranks, so that all halve their micro-batches.

        Raises:
            FailedError: They wait inside a layer, where nobody can tell them.
        """
        if self._is_exchanging:
            raise FailedError(
                "the memory is exhausted inside a layer, and with --shard the other ranks wait "
                "there; raise --gpus-per-run, or lower --set encoder.max_length= or "
                "training.batch_tokens="
            ) from shortage
        self._outputs.clear()
        self._is_empty_pass = False
        if not isinstance(shortage, ShortElsewhereError):
            self.ranks.gather(_SHORT)
        for parameter in self._divided.values():
            parameter.grad = None

    def add_gradients(self) -> None:
        """FSDP2 has added those of the layers; here they move to `parameters`."""
        for name, parameter in self._divided.items():
            grad, parameter.grad = parameter.grad, None
            self.parameters[name].grad = None if grad is None else grad.to_local()
        self.ranks.add_gradients([p for n, p in self.parameters.items() if n not in self._divided])

    def norm(self) -> Tensor:
        norms = [
            torch.nn.utils.get_total_norm(
                gradients_of(p for n, p in self.parameters.items() if (n in self._divided) is own)
            )
            for own in (True, False)
        ]
        return (self.ranks.add(norms[0] ** 2) + norms[1] ** 2).sqrt()

    def state(self) -> dict[str, dict[str, Tensor]]:
        encoder = {
            name: self.whole(f"encoder.{name}", self.parameters.get(f"encoder.{name}", tensor))
            for name, tensor in self.encoder.state_dict().items()
        }
        return {"encoder": encoder, "head": self.head.state_dict()}

    def load(self, parts: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        refuse_unlike(self.encoder.state_dict(), parts["encoder"], path)
        refuse_unlike(self.head.state_dict(), parts["head"], path)
        self.head.load_state_dict(dict(parts["head"]))
        rest = dict(parts["encoder"])
        for name in self._divided:
            whole = rest.pop(name.removeprefix("encoder."))
            self.parameters[name].data.copy_(self.own(name, whole))
        self.encoder.load_state_dict(rest, strict=False)

    def whole(self, name: str, own: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        parameter, own = self._divided.get(name), own.detach()
        if parameter is None or not own.ndim:  # the number of steps
            return own
        parts = DTensor.from_local(
            own, parameter.device_mesh, parameter.placements, run_check=False,
            shape=parameter.shape, stride=parameter.stride(),
        )  # fmt: skip
        whole = parts.full_tensor()
        return whole.cpu() if self.ranks.is_first else own

    def own(self, name: str, whole: Tensor) -> Tensor:
        if name not in self._divided or not whole.ndim:
            return whole
        parts = whole.chunk(self.ranks.size)
        return parts[self.ranks.rank].clone() if self.ranks.rank < len(parts) else whole[:0]

    def shape(self, name: str) -> torch.Size:
        return torch.Size(self._divided.get(name, self.parameters[name]).shape)


def weights_of(
    encoder: SharedEncoder, head: nn.Module, ranks: Ranks, device: torch.device
) -> Weights:
    """The weights of a run on its device, divided where its ranks are."""
    divided = DividedWeights(encoder, head, ranks, device) if ranks.is_sharded else None
    encoder.to(device)
    head.to(device)
    return divided or Weights(encoder, head, ranks)


def layers_of(encoder: SharedEncoder) -> list[nn.Module]:
    """The layers of an encoder, bench's own or one of transformers."""
    return list(next(one for one in encoder.modules() if isinstance(one, nn.ModuleList)))


def _divide(layers: list[nn.Module], count: int, device: torch.device) -> None:
    """Divide each layer among so many ranks; gradients are added, and never averaged."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, share_comm_ctx

    # On a GPU a layer is exchanged in the type in which it computes.
    half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    policy = half if device.type == "cuda" else MixedPrecisionPolicy()
    mesh = init_device_mesh(device.type, (count,))
    units = [
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        for layer in layers
    ]
    for unit in units:
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
    share_comm_ctx(units)


class _Joined(torch.autograd.Function):
    """A loss to which the outputs of passes belong with a gradient of zero."""

    @staticmethod
    def forward(context: Any, loss: Tensor, *outputs: Tensor) -> Tensor:
        context.shapes = [(one.shape, one.dtype) for one in outputs]
        return loss.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        zeros = (gradient.new_zeros(shape, dtype=dtype) for shape, dtype in context.shapes)
        return gradient, *zeros
