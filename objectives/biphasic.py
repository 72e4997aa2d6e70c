"""Causal first, masked later: the cheap signal early, the one that sees both sides to the end.

    [CLS]  the    cat  sat  down        before `switch` of the budget: `causal`
    the    cat    sat  down (no)
    [CLS]  [MASK] cat  sat  down        from then on: `token`, or what `then` names
           the

Every position predicts in the first phase, so it learns fast; the second turns what was learned to
both sides. In a study at equal steps this beat masked modelling all the way. One encoder and one
token head go through both phases, and a schedule of `then` (a rate `0.30->0.15`) runs over its own
phase. Features are read, and sentences scored, as of the masked model that it ends as.

Differs: warm-up and decay of the learning rate span the budget once; there is no second warm-up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from bench.errors import BenchError
from bench.pretraining.corruption.mixing import has_own_head, read_objective
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
    """Predict the next token, then hidden ones."""

    name: ClassVar[str] = "biphasic"
    summary: ClassVar[str] = "causal for the first half of the budget, then masked"
    source: ClassVar[str] = "Gisserot-Boukhlef et al. 2025"
    scoring: ClassVar[Scoring | None] = "masked"

    switch: Fraction = 0.5
    """Share of the budget after which the second phase begins."""
    then: str = "token"
    """The second phase: any masked objective, with settings, as `span(mean_length=3,rate=0.3)`."""

    @model_validator(mode="after")
    def _second_is_masked(self) -> Biphasic:
        if self._second.scoring != "masked" or has_own_head(self._second):
            raise BenchError(
                f"biphasic.then: {self.then!r} is not a masked objective with the ordinary token "
                "head; name one as token, whole_word or span"
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
        rest = 1 - self.switch
        progress = (batch.progress - self.switch) / rest if rest else 1.0
        batch = dataclasses.replace(batch, progress=progress)
        return self._second.corrupt(batch, vocabulary, self.settled(noise))
