"""PMI masking: words that go together are hidden together.

    she lives in new york city now          "new york city" was statistics, "lives in" was not
    she lives in [MASK MASK MASK] now       a unit of three words, drawn as single words are
                 new  york city

Who sees "[MASK] york" need not read the rest of the sentence. The units are the collocations of 2
to 5 words that are least explained by their parts: a run's score is log p(run) less the best sum of
log p over any cut of it, so "of the united states" owes nothing to "united states". They are
mined from the training part alone, before the first step; half of them are pairs, a quarter
triples, the rest longer, as published. All other units are whole words.

Differs: published are 800,000 from 16 GB of text, chosen to cover half of its tokens; 3,000 cover
44 % of the generated corpus (0.6M words), and 10,000 cover 18 % of 1.5M words of an encyclopedia:
`size` is worth setting. A run scores above 0 or is none, and ends with its sentence. The released
lists multiply the score by the run's frequency; the paper does not, nor do we.
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
    summary: ClassVar[str] = "masked language model over mined collocations of 2 to 5 words"
    source: ClassVar[str] = "Levine et al. 2021, sec. 3"

    size: PositiveInt = 3_000
    """Collocations kept, at most."""
    fewest: PositiveInt = 10
    """Occurrences in the training part below which a run of words is no collocation."""

    def collect_statistics(
        self, batches: Iterable[Batch], vocabulary: Vocabulary
    ) -> dict[str, Tensor]:
        from bench.pretraining.corruption.collocations import collocations

        return {"collocations": collocations(batches, self.size, self.fewest)}

    def units(self, batch: Batch) -> Bool[Tensor, "B L"]:
        from bench.pretraining.corruption.collocations import joined_words

        table = batch.statistics.get("collocations")
        return batch.word_start if table is None else joined_words(batch, table)
