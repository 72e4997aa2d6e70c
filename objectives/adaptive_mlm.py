"""Adaptive masking: token types that the model predicts wrongly are hidden more often.

    type       predicted   errors   accuracy          weight 0.2 x 1 + 0.8 x (1 - accuracy)
    the               40        2   38.5 / 41 = .94   0.25
    fox                3        3    0.5 / 4  = .13   0.90    hidden 3.6 times as often as `the`

Every type has a weight, which is 1 at first. After every 200 steps each weight becomes an
exponential mean of itself and of the error rate of its type over these steps. The accuracy of a
type is (correct + 0.5) / (predictions + 1), so it is one half for a type without predictions. A
row hides as many tokens as with `token` at the same rate, and each with a chance in proportion to
its weight. Before the first update the objective is `token` with other draws. The paper's best
configuration ("hard decay") lowers the rate during pretraining: `rate=0.40->0.15`.

The weights belong to training. The validation loss is computed under equal weights, so it can be
compared from step to step and from seed to seed. `bench show` draws with equal weights too.

Differs: the number of hidden tokens is exact in every row (sequential Poisson sampling, Ohlsson
1998), whereas the release hides each token independently. Only relative weights matter, so they are
not rescaled after an update, as in the release. The lowest weight is 1/30 at every rate; the
release has a lowest rate of 0.005, which is the same at 0.15. The variant with the loss in the
place of the error ("soft") is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import torch

from bench.pretraining.objective import MaskedObjective
from bench.settings import Fraction, PositiveInt, settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor, nn

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Batch, Example, Loss
    from bench.pretraining.encoder import Encoder
    from bench.pretraining.noise import Noise

_LOWEST = 1 / 30
_LEVELS = 2**14  # weights as integers, so that the same tokens are hidden on every device


@settings
class AdaptiveMlm(MaskedObjective):
    """Hide tokens with weights that follow the model's own errors."""

    name: ClassVar[str] = "adaptive_mlm"
    summary: ClassVar[str] = "masked language model that hides difficult token types more often"
    source: ClassVar[str] = "Edman and Fraser 2025 (arXiv 2510.20475)"

    update_steps: PositiveInt = 200
    """Steps between two updates of the weights."""
    smoothing: Fraction = 0.2
    """Share of the previous weight in the new one."""

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        return {"weights": torch.ones(vocabulary.size, dtype=torch.float64)}

    @property
    def feedback_steps(self) -> int:
        return self.update_steps

    def adapt(
        self, statistics: Mapping[str, Tensor], counters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        predictions, errors = counters["predictions"].double(), counters["errors"].double()
        accuracy = (predictions - errors + 0.5) / (predictions + 1)
        mean = self.smoothing * statistics["weights"] + (1 - self.smoothing) * (1 - accuracy)
        return {"weights": mean.clamp(min=_LOWEST)}

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        weights = batch.statistics.get("weights")
        keys = noise.bits("units", tuple(batch.tokens.shape))
        if weights is not None:
            keys = keys * _LEVELS // (weights * _LEVELS).long()[batch.tokens]
        order = torch.where(batch.real, keys, 2**62).argsort(dim=1, stable=True)
        return batch.real & (order.argsort(dim=1) < self.quota(batch)[:, None])

    def loss(self, encoder: Encoder, head: nn.Module, example: Example, noise: Noise) -> Loss:
        from bench.pretraining.heads import counted_token_loss

        return counted_token_loss(encoder, head, example)
