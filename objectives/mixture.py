"""A mixture of objectives: each row is drawn for one of them.

    0.4*span(mean_length=3) + 0.4*span(mean_length=8,max_length=24,rate=0.5) + 0.2*prefix_lm

    the  [MASK] [MASK] fox   jumps  over      short runs, few tokens hidden (UL2's R-denoiser)
    the  [MASK] [MASK] [MASK] [MASK] over     long runs, many tokens hidden (X-denoiser)
    the  quick  brown | fox  jumps  over      a prefix and its continuation (S-denoiser)

The components may be any installed objectives with any settings. `Noise` draws the component of
each row anew in every epoch, so a batch contains rows of all of them. The loss is the sum of the
components' loss sums over the sum of their divisors. Every prediction therefore has the same
weight, and a component that makes more predictions per row has more weight than its share of rows.

Components with the ordinary token head share one head and one encoder pass of fixed shape. A
component with a head or loss of its own runs on its own rows only, whose number varies. Sentences
are not scored, because the components need not agree on a method.

Differs: UL2 mixes seven denoisers of an encoder-decoder and marks each with a mode token. The
defaults here are its three kinds in a form that an encoder can do: [MASK]s take the place of
sentinels and there is no mode token.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import AfterValidator, model_validator

from bench.errors import BenchError
from bench.pretraining.batch import Batch, Example, Loss
from bench.pretraining.corruption.mixing import MixedExample, merge_rows, read_mixture
from bench.pretraining.objective import Cost, DrawnObjective, Objective
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise
    from bench.spec import EncoderShape


@settings
class Mixture(DrawnObjective):
    """Assign each row to one of several objectives."""

    name: ClassVar[str] = "mixture"
    summary: ClassVar[str] = "a weighted mixture of objectives, each row drawn for one of them"
    source: ClassVar[str] = "Tay et al. 2023, sec. 3.1"

    components: Annotated[str, AfterValidator(lambda text: "".join(text.split()))] = (
        "0.4*span(mean_length=3)+0.4*span(mean_length=8,max_length=24,rate=0.5)+0.2*prefix_lm"
    )
    """`WEIGHT*OBJECTIVE(SETTING=VALUE,...)+...`; the weights are shares of the rows."""

    @model_validator(mode="after")
    def _has_no_nested_mixture(self) -> Mixture:
        if any(part.name == self.name for part in self.ingredients()):
            raise BenchError("mixture.components: a mixture cannot be part of a mixture")
        return self

    @functools.cached_property
    def _weighted(self) -> tuple[tuple[float, Objective], ...]:
        return read_mixture(self.components, "mixture.components")

    def ingredients(self) -> tuple[Objective, ...]:
        return tuple(part for _, part in self._weighted)

    @functools.cached_property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the components that share a head, then one group for each of the others."""
        is_own = [part.has_own_head for part in self.ingredients()]
        shared = tuple(i for i, own in enumerate(is_own) if not own)
        return (*((shared,) if shared else ()), *((i,) for i, own in enumerate(is_own) if own))

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        parts = enumerate(self.ingredients())
        collectors = [
            (i, part)
            for i, part in parts
            if type(part).collect_statistics is not Objective.collect_statistics
        ]
        if len(collectors) > 1:  # each reads all batches, and an iterator can be read only once
            batches = list(batches)
        return {
            f"{i}.{name}": table
            for i, part in collectors
            for name, table in part.collect_statistics(batches, vocabulary).items()
        }

    def members(self, noise: Noise, rows: int) -> Int[Tensor, " B"]:
        """Index of the component that each row is drawn for."""
        bounds = [*accumulate(weight for weight, _ in self._weighted)][:-1]
        drawn = self.settled(noise).uniform("component", (rows, 1))[:, 0]
        return torch.bucketize(drawn, drawn.new_tensor(bounds), right=True)

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        examples = []
        for i, part in enumerate(self.ingredients()):
            own = {
                k[len(f"{i}.") :]: v for k, v in batch.statistics.items() if k.startswith(f"{i}.")
            }
            own_batch = dataclasses.replace(batch, statistics=own)
            examples.append(part.corrupt(own_batch, vocabulary, self.settled(noise)))
        merged = merge_rows(examples, self.members(noise, len(batch.tokens)))
        return MixedExample(**vars(merged), examples=tuple(examples))

    def head(self, shape: EncoderShape, vocabulary: Vocabulary) -> nn.Module:
        parts = self.ingredients()
        return torch.nn.ModuleList(parts[own].head(shape, vocabulary) for own, *_ in self._groups)

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads.mixed_loss import mixed_loss

        assert isinstance(example, MixedExample)
        assert isinstance(head, torch.nn.ModuleList)
        parts, cost = self.ingredients(), self.extra_cost(encoder.shape)
        noise = self.settled(noise)
        return mixed_loss(parts, self._groups, cost, encoder, head, example, noise)

    def extra_cost(self, shape: EncoderShape) -> Cost:
        costs = [self.ingredients()[own].extra_cost(shape) for own, *_ in self._groups]
        if len(costs) == 1:
            return costs[0]
        # The cost of a step depends on its rows: `mixed_loss` reports it as a number of prediction
        # slots, each of which costs `flops_per_prediction`.
        return Cost(
            flops_per_prediction=max(1.0, *(cost.flops_per_prediction for cost in costs)),
            parameters=sum(cost.parameters for cost in costs),
            encoder_passes=max(cost.encoder_passes for cost in costs),
        )
