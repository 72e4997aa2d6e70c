"""Token masking: the masked language model of BERT.

    the   quick  brown  fox    jumps        round(0.4 x 5) = 2 tokens are chosen at rate 0.4
    the   [MASK] brown  fox    lamp         80 % [MASK], 10 % random, 10 % unchanged
          quick                jumps        labels: every chosen token, hidden or not

The number of chosen tokens is exact in every row. They are drawn without replacement, so that a
budget in predictions is exact too. `selection="bernoulli"` draws each token independently, as the
release does.

Differs: special tokens are never chosen and never drawn as replacements, unlike in most collators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from bench.pretraining.objective import MaskedObjective, UnitObjective
from bench.pretraining.rates import rate_at
from bench.settings import settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Int
    from torch import Tensor

    from bench.pretraining.batch import Batch
    from bench.pretraining.noise import Noise


@settings
class Token(UnitObjective):
    """Hide single tokens."""

    name: ClassVar[str] = "token"
    summary: ClassVar[str] = "masked language model over single tokens"
    source: ClassVar[str] = "Devlin et al. 2019, sec. 3.1"

    selection: Literal["exact", "bernoulli"] = "exact"
    """`exact`: each row's quota, without replacement; `bernoulli`: each token independently."""

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        return batch.real

    def choose(self, batch: Batch, noise: Noise) -> Bool[Tensor, "B L"]:
        if self.selection == "exact":
            return super().choose(batch, noise)
        drawn = noise.uniform("units", tuple(batch.tokens.shape))
        return (drawn < rate_at(self.rate, batch.progress)) & batch.real

    def predicted_positions(
        self, batch: Batch, noise: Noise
    ) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"]]:
        if self.selection == "exact":
            return super().predicted_positions(batch, noise)
        return MaskedObjective.predicted_positions(self, batch, noise)

    def capacity(self, batch: Batch) -> int:
        exact = super().capacity(batch)
        if self.selection == "exact":
            return exact
        # Six standard deviations above the mean: one row in a billion loses a prediction.
        return min(batch.tokens.shape[1], exact + int(6 * max(exact, 1) ** 0.5))
