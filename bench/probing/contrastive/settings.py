"""The budget of the contrastive stage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.settings import PositiveFloat, PositiveInt, settings


@settings
class ContrastiveSettings:
    """The numbers of the contrastive stage, the same for every objective."""

    steps: PositiveInt = 100
    """Steps at each learning rate."""
    batch_pairs: Annotated[int, Field(ge=2)] = 32
    """Pairs of a step; the other texts of the batch are the negatives."""
    passage_tokens: Annotated[int, Field(ge=16)] = 64
    """Maximum length of a passage of the corpus, in its tokens; its halves are a pair."""
    temperature: PositiveFloat = 0.05
    """Cosines are divided by it (0.05 as in SimCSE, Gao et al. 2021)."""
    learning_rates: tuple[PositiveFloat, ...] = ()
    """Peak learning rates tried; empty: 0.06, 0.2 and 0.6 divided by the encoder's width."""
    dev_pairs: Annotated[int, Field(ge=2)] = 128
    """Pairs that are not trained on, whose loss chooses the learning rate."""
