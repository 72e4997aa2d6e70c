"""Causal language modelling first, masked language modelling later.

    [CLS]  the    cat  sat  down        before the share `switch` of the budget: `causal`
    the    cat    sat  down (no)
    [CLS]  [MASK] cat  sat  down        after it: `token`, or the objective that `then` names
           the

In the first phase every position predicts, so the encoder learns fast. In the second phase the
encoder learns to use both sides of the context. In the paper's comparison at equal steps this was
better than masked modelling throughout. Both phases train one encoder and one token head. A rate
schedule of `then` (`0.30->0.15`) covers the second phase only. Features are computed and sentences
are scored as for the masked objective that the run ends with.

Differs: the learning rate warms up and decays once over the whole budget; there is no second
warm-up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from bench.errors import BenchError
from bench.pretraining.corruption.mixing import read_objective
from bench.pretraining.objective import DrawnObjective, Objective, Scoring
from bench.settings import Fraction, settings

from .causal import Causal

if TYPE_CHECKING:
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Batch, Example
    from bench.pretraining.noise import Noise


@settings
class Biphasic(DrawnObjective):
    """Predict next tokens in the first phase and hidden tokens in the second."""

    name: ClassVar[str] = "biphasic"
    summary: ClassVar[str] = "causal for the first half of the budget, then masked"
    source: ClassVar[str] = "Gisserot-Boukhlef et al. 2025"
    scoring: ClassVar[Scoring | None] = "masked"

    switch: Fraction = 0.5
    """Share of the budget at which the second phase begins."""
    then: str = "token"
    """Masked objective of the second phase, with settings: `span(mean_length=3,rate=0.3)`."""

    @model_validator(mode="after")
    def _second_is_masked(self) -> Biphasic:
        if self._second.scoring != "masked" or self._second.has_own_head:
            raise BenchError(
                f"biphasic.then: {self.then!r} is not a masked objective with the ordinary token "
                "head; use one such as token, whole_word or span"
            )
        return self

    @functools.cached_property
    def _second(self) -> Objective:
        return read_objective(self.then, "biphasic.then")

    def ingredients(self) -> tuple[Objective, ...]:
        return Causal(), self._second

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        return self._second.collect_statistics(batches, vocabulary)

    def corrupt(self, batch: Batch, vocabulary: Vocabulary, noise: Noise) -> Example:
        if batch.progress < self.switch:
            return Causal().corrupt(batch, vocabulary, noise)
        second_share = 1 - self.switch
        progress = (batch.progress - self.switch) / second_share if second_share else 1.0
        batch = dataclasses.replace(batch, progress=progress)
        return self._second.corrupt(batch, vocabulary, self.settled(noise))
