"""PMI masking: words that often occur together are hidden together.

    she lives in new york city now          "new york city" is a collocation, "lives in" is not
    she lives in [MASK MASK MASK] now       a unit of three words, drawn like a single word
                 new  york city

With "[MASK] york" as input, a model can predict "new" without the rest of the sentence. The units
are therefore collocations: the runs of 2 to 5 words that their parts explain least. The score of a
run is log p(run) minus the best sum of log p over any segmentation of it, so "of the united states"
gains nothing from "united states". The collocations are collected from the training part alone,
before the first step. Half of them are pairs, a quarter triples and the rest longer, as published.
All other units are whole words.

Differs: the paper uses 800,000 collocations from 16 GB of text, a number chosen to cover half of
its tokens. Here 3,000 cover 44 % of the generated corpus (0.6M words), and 10,000 cover 18 % of
1.5M words of an encyclopedia, so `size` should be set for the corpus. A collocation needs a score
above 0 and lies within one sentence. The released lists multiply the score by the run's frequency;
the paper does not, and neither does this objective.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from bench.pretraining.objective import UnitObjective
from bench.settings import PositiveInt, settings

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from bench.corpus.tokenizer import Vocabulary
    from bench.pretraining.batch import Batch


@settings
class Pmi(UnitObjective):
    """Hide collocations and words."""

    name: ClassVar[str] = "pmi"
    summary: ClassVar[str] = "masked language model over collocations of 2 to 5 words"
    source: ClassVar[str] = "Levine et al. 2021, sec. 3"

    size: PositiveInt = 3_000
    """Maximum number of collocations."""
    fewest: PositiveInt = 10
    """Minimum number of occurrences of a collocation in the training part."""

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        from bench.pretraining.corruption.collocations import collocations

        return {"collocations": collocations(batches, self.size, self.fewest)}

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        from bench.pretraining.corruption.collocations import joined_words

        table = batch.statistics.get("collocations")
        return batch.word_start if table is None else joined_words(batch, table)
